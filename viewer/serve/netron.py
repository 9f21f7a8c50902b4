"""Netron's installed pages, served with our overlay; nothing on disk is changed."""

from __future__ import annotations

import html
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

from viewer.errors import NetronError

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".svg": "image/svg+xml",
}

POLICY = (
    "default-src 'none'; script-src 'self'; style-src-elem 'self' 'unsafe-inline'; "
    "style-src-attr 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self'; "
    "connect-src 'self'; worker-src 'self'; frame-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'self'"
)
"""Netron styles itself inline; scripts come from this server alone."""


def content_type(name: str) -> str | None:
    """MIME type of a page file; None when its kind is never served."""
    return _TYPES.get(Path(name).suffix.lower())


# Netron asks for its modules in three rounds; asked for at once, they are there sooner.
_MODULES = (
    "base text flatbuffers flexbuffers zip tar python json xml protobuf hdf5 grapher browser"
    " view onnx onnx-proto"
)


@dataclass(frozen=True)
class Netron:
    """Where Netron's page lies.

    Attributes:
        folder: The installed package.
        version: As its page says; empty when it does not.
        files: Names of the files that may be served.
    """

    folder: Path
    version: str
    files: frozenset[str]

    def index(self, identifier: str) -> bytes:
        """Netron's page with our overlay added and its home calls left out.

        Version ``0.0.0`` turns telemetry off, and without a date the page does not lock
        itself after 180 days.

        Args:
            identifier: File name to show; untrusted.

        Raises:
            NetronError: The page is not the one we know how to extend.
        """
        page = (self.folder / "index.html").read_text(encoding="utf-8")
        name = html.escape(identifier, quote=True)
        head = (
            '<meta name="version" content="0.0.0">\n<meta name="type" content="Atlas">\n'
            f'<meta name="file" content="model.onnx">\n<meta name="name" content="{name}">\n'
            f'<meta name="identifier" content="{name}">\n'
            '<link rel="stylesheet" href="/netron.css">\n'
            f"{self._preloads()}"
            '<script type="module" src="/netron.js"></script>'
        )
        page, metas = re.subn(r'<meta name="(?:version|date)" content="[^"]*">', "", page)
        page, heads = re.subn(r"<head>", lambda _: f"<head>\n{head}", page, count=1)
        if heads != 1 or metas == 0:
            raise NetronError(
                f"the page of Netron {self.version or '(unknown)'} has changed",
                "a version from 8.8.9 on",
                'pip install "netron>=8.8.9"',
            )
        return page.encode()

    def _preloads(self) -> str:
        names = (f"{name}.js" for name in _MODULES.split())
        links = (f'<link rel="modulepreload" href="{n}">\n' for n in names if n in self.files)
        return "".join(links)


def find(folder: Path | None = None) -> Netron:
    """Netron's installed package, found without importing it.

    Args:
        folder: Another copy of its pages, for tests of other versions.

    Raises:
        NetronError: It is not installed.
    """
    if folder is None:
        spec = importlib.util.find_spec("netron")
        places = list(spec.submodule_search_locations or []) if spec is not None else []
        folder = Path(places[0]) if places else None
    if folder is None or not (folder / "index.html").is_file():
        raise NetronError("Netron is not installed", "its pages", "pip install netron")
    page = (folder / "index.html").read_text(encoding="utf-8")
    match = re.search(r'<meta name="version" content="([^"]*)">', page)
    files = frozenset(
        entry.name
        for entry in folder.iterdir()
        if entry.is_file() and content_type(entry.name)
    )
    return Netron(folder, match[1] if match else "", files)
