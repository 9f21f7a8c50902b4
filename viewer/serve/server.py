"""The pages of one viewer, on loopback unless asked otherwise."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import queue
import re
import secrets
import socket
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from typing import Any, Literal

from viewer.errors import TargetError, ViewerError
from viewer.model.compare import weights
from viewer.numbers import count
from viewer.serve import netron, offline, pages
from viewer.serve.answering import POLICY
from viewer.serve.sampling import Sampler
from viewer.serve.sampling_routes import SamplingRoutes
from viewer.serve.shown import Shown

_ANYWHERE = {"0.0.0.0", "::", ""}
_HOST = re.compile(r"(\[[0-9a-f:.%]+\]|[^:\[\]]+)(?::([0-9]{1,5}))?")
_MOST_WAITING = 32
"""Connections that have not asked for anything yet, or not again; the oldest then ends."""
_UPLOAD_LIMIT = 1 << 29


class Server(ThreadingHTTPServer):
    """One viewer; several can live in one process, for nothing is kept on a class.

    Args:
        shown: What to show.
        pages: Netron's installed pages.
        host: Address to listen on.
        port: Port, 0 for any free one.
        sampler: What runs the models, if they can be run.

    Raises:
        TargetError: The address cannot be listened on.
    """

    daemon_threads = True
    allow_reuse_address = os.name != "nt"

    def __init__(
        self,
        shown: Shown,
        pages: netron.Netron,
        host: str = "127.0.0.1",
        port: int = 0,
        sampler: Sampler | None = None,
    ) -> None:
        self.shown, self.pages, self.host = shown, pages, host.lower()
        self.sampler = sampler
        self.token = secrets.token_urlsafe(24)
        self.uploads: queue.Queue[bytes] = queue.Queue()
        self._waiting: dict[socket.socket, None] = {}
        self._lock = threading.Lock()
        if ":" in host:
            self.address_family = socket.AF_INET6
        try:
            super().__init__((host, port), Handler)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise TargetError(
                f"cannot listen on {host}:{port} ({reason})", do="try another --port"
            ) from error

    @property
    def url(self) -> str:
        """Where a browser finds it."""
        host, port = self.server_address[:2]
        name = "127.0.0.1" if host in _ANYWHERE else str(host)
        return f"http://{f'[{name}]' if ':' in name else name}:{port}/"

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        """Serves until ``shutdown``; what every page asks for is made before it does."""
        threading.Thread(target=self._make_ready, daemon=True).start()
        super().serve_forever(poll_interval)

    def _make_ready(self) -> None:
        pages.piece("page", "js")
        pages.piece("page", "css")
        _ = self.shown.atlases

    def start(self) -> threading.Thread:
        """Serves from a thread of its own until ``close``."""
        thread = threading.Thread(target=self.serve_forever, args=(0.1,), daemon=True)
        thread.start()
        return thread

    def close(self) -> None:
        """Stops serving and frees the port."""
        self.shutdown()
        self.server_close()

    def server_close(self) -> None:
        """Frees the port, and ends whatever samples."""
        super().server_close()
        if self.sampler is not None:
            self.sampler.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away in the middle is no error of ours; others are raised."""
        import sys

        error = sys.exc_info()[1]
        if not isinstance(error, (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)

    def waits(self, connection: socket.socket) -> None:
        """Notes a connection that waits for a request; ends the oldest of too many."""
        with self._lock:
            self._waiting[connection] = None
            for oldest in list(self._waiting)[: len(self._waiting) - _MOST_WAITING]:
                del self._waiting[oldest]
                with contextlib.suppress(OSError):  # it ended by itself
                    oldest.shutdown(socket.SHUT_RDWR)

    def works(self, connection: socket.socket) -> None:
        """A request has come: the connection no longer waits."""
        with self._lock:
            self._waiting.pop(connection, None)

    def knows(self, host: str | None) -> bool:
        """Whether a Host header names this server: a foreign name may be DNS rebinding."""
        match = _HOST.fullmatch((host or "").lower())
        if match is None or int(match[2] or 80) != self.server_address[1]:
            return False
        name = match[1].strip("[]")
        bound = str(self.server_address[0])
        if name in ("localhost", "127.0.0.1", "::1", bound, self.host):
            return True
        return bound in _ANYWHERE and _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class Handler(SamplingRoutes):
    """Answers one connection; every path it serves is in ``ROUTES``."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version = "UNetAtlas"
    sys_version = ""
    timeout = 60

    def do_GET(self) -> None:  # noqa: N802
        """Serves a page, a payload or a range of a weight file."""
        self._route("GET")

    def do_POST(self) -> None:  # noqa: N802
        """Takes a figure that a headless browser drew, or an order to sample."""
        self._route("POST")

    def log_message(self, format: str, *args: Any) -> None:
        """Silent: what a browser asks for is of no interest on the terminal."""

    def handle_one_request(self) -> None:
        """Waits for a request, and may be ended while it does; see ``Server.waits``."""
        self.server.waits(self.connection)
        super().handle_one_request()

    def finish(self) -> None:
        """Forgets the connection."""
        self.server.works(self.connection)
        super().finish()

    def _route(self, method: str) -> None:
        self.server.works(self.connection)
        if not self.server.knows(self.headers.get("Host")):
            self._text(HTTPStatus.MISDIRECTED_REQUEST, "unknown Host")
            return
        if self._is_from_elsewhere():
            self._text(HTTPStatus.FORBIDDEN, "not for other sites")
            return
        path = self.path.split("?", 1)[0]
        for verb, pattern, answer in ROUTES:
            match = pattern.fullmatch(path)
            if match and verb == method:
                try:
                    answer(self, *match.groups())
                except IndexError:
                    self._text(HTTPStatus.NOT_FOUND, "no such model")
                except ViewerError as error:
                    self._text(HTTPStatus.NOT_FOUND, str(error))
                return
        self._text(HTTPStatus.NOT_FOUND, "not found")

    def _is_from_elsewhere(self) -> bool:
        """Whether another site's page asks, rather than a person following a link."""
        site = self.headers.get("Sec-Fetch-Site", "none")
        return site not in ("none", "same-origin") and (
            self.headers.get("Sec-Fetch-Mode") != "navigate"
        )

    def _page(self) -> None:
        sampler = self.server.sampler
        about = self.server.shown.about(
            netron=self.server.pages.version,
            sampling=None if sampler is None else sampler.about(),
        )
        asked = [f"/m/{index}/atlas.json" for index in range(len(self.server.shown.models))]
        self._html(pages.served("page", about, asked))

    def _web(self, name: str) -> None:
        kind = netron.content_type(name)
        file = pages.WEB / name
        if kind is None or not file.is_file():
            self._text(HTTPStatus.NOT_FOUND, "not found")
            return
        self._bytes(file.read_bytes(), kind, POLICY)

    def _piece(
        self, page: Literal["page", "replay", "netron"], kind: Literal["js", "css"]
    ) -> None:
        self._bytes(
            pages.piece(page, kind), netron.content_type(f"{page}.{kind}") or "", POLICY
        )

    def _atlas(self, index: str) -> None:
        self._bytes(self.server.shown.atlases[int(index)], "application/json", POLICY)

    def _netron(self, index: str, name: str) -> None:
        file = self.server.shown.models[int(index)].file
        if name == "model.onnx":
            self._bytes(file.content, "application/octet-stream", POLICY)
        elif name in ("", "index.html"):
            page = self.server.pages.index(file.path.name)
            self._bytes(page, "text/html; charset=utf-8", netron.POLICY)
        elif name in self.server.pages.files:
            kind = netron.content_type(name) or "application/octet-stream"
            self._bytes((self.server.pages.folder / name).read_bytes(), kind, netron.POLICY)
        else:
            self._text(HTTPStatus.NOT_FOUND, "not found")

    def _data(self, index: str, number: str) -> None:
        file = self.server.shown.models[int(index)].file
        location = list(file.locations)[int(number)]
        self._range(lambda: file.open(location))

    def _replay(self) -> None:
        shown = self.server.shown
        about = {"models": len(shown.models), "file": shown.recorded().path.name}
        asked = ["/m/0/atlas.json"] if shown.models else []
        self._html(pages.served("replay", about, asked))

    def _recorded(self) -> None:
        path = self.server.shown.recorded().path
        self._range(lambda: path.open("rb"))

    def _compare(self) -> None:
        self._json(self.server.shown.comparison)

    def _weights(self) -> None:
        models = self.server.shown.models
        self._json(weights(models[0], models[1]))

    def _upload(self, token: str) -> None:
        length = count(self.headers.get("Content-Length") or "")
        fits = length is not None and length <= _UPLOAD_LIMIT
        if not secrets.compare_digest(token, self.server.token) or not fits:
            self._text(HTTPStatus.FORBIDDEN, "no")
            return
        self.server.uploads.put(self.rfile.read(length))
        self._text(HTTPStatus.OK, "thanks")

    def _offline(self) -> None:
        self._html(offline.page(self.server.shown).encode())


ROUTES: tuple[tuple[str, re.Pattern[str], Callable[..., None]], ...] = (
    ("GET", re.compile(r"/"), Handler._page),
    ("GET", re.compile(r"/(page|replay|netron)\.(js|css)"), Handler._piece),
    ("GET", re.compile(r"/web/((?:page|netron|replay)/[\w-]+\.\w+)"), Handler._web),
    ("GET", re.compile(r"/m/(\d{1,2})/atlas\.json"), Handler._atlas),
    ("GET", re.compile(r"/m/(\d{1,2})/data/(\d{1,4})"), Handler._data),
    ("GET", re.compile(r"/m/(\d{1,2})/netron/([\w.-]*)"), Handler._netron),
    ("GET", re.compile(r"/compare\.json"), Handler._compare),
    ("GET", re.compile(r"/compare/weights\.json"), Handler._weights),
    ("GET", re.compile(r"/offline\.html"), Handler._offline),
    ("GET", re.compile(r"/recording"), Handler._replay),
    ("GET", re.compile(r"/recording/data"), Handler._recorded),
    ("POST", re.compile(r"/export/([\w-]+)"), Handler._upload),
    ("GET", re.compile(r"/sample/state/(\d{1,9})"), Handler._sample_state),
    ("GET", re.compile(r"/sample/(\d{1,9})/data"), Handler._sampled),
    ("POST", re.compile(r"/sample/(ready|begin|cancel)"), Handler._sample),
)
