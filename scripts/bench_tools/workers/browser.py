"""``browser VIEWER BIN FILE``: seconds until a viewer's page shows the graph.

The viewer's own server runs in the viewer's environment. The clock starts when a headless
Chromium, already open on an empty page, is sent to the viewer, and ends when the graph's first
elements are in the page and painted. Requests to other hosts are refused.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

from playwright.sync_api import Page, Route, sync_playwright

PATIENCE = 180.0
"""Seconds until a drawing counts as failed."""

_STEP = 0.02
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--use-gl=angle",
    "--use-angle=swiftshader",
)
_DEEP = """
const deep = (root, selector) => {
  const here = root.querySelector(selector);
  if (here) return here;
  for (const one of root.querySelectorAll('*')) {
    const found = one.shadowRoot && deep(one.shadowRoot, selector);
    if (found) return found;
  }
  return null;
};
"""


@dataclass(frozen=True)
class Viewer:
    """How one viewer is served and recognised.

    Attributes:
        serve: Command line from its executables' folder, the file and a port.
        page: Path and query of the page, from the file.
        drawn: JavaScript that is true once the graph is in the page, and a text where the
            viewer has given up.
    """

    serve: Callable[[Path, Path, int], list[str]]
    page: Callable[[Path], str]
    drawn: str


# While a large layout runs, a notice (with a button that would cancel it) is shown.
_NETRON = """(page => {
  const body = page?.body?.classList;
  if (body?.contains('alert')) return page.getElementById('message-text').innerText;
  return Boolean(body?.contains('default') && page.querySelector('g.graph-node'));
})"""


def _atlas(drawn: str, query: str = "") -> Viewer:
    return Viewer(
        lambda bin, file, port: [
            str(bin / "python"), "-m", "viewer", str(file), "--port", str(port),
            "--no-browser",
        ],
        lambda _: f"/{query}",
        drawn,
    )  # fmt: skip


VIEWERS = {
    "netron": Viewer(
        lambda bin, file, port: [
            str(bin / "netron"), "--host", "127.0.0.1", "--port", str(port),
            "--verbosity", "quiet", str(file),
        ],
        lambda _: "/",
        f"{_NETRON}(document)",
    ),
    "atlas": _atlas("!!document.querySelector('svg g.block')"),
    # The same Netron, in its frame on our page.
    "atlas-graph": _atlas(f"{_NETRON}(document.querySelector('iframe')?.contentDocument)"),
    "tensorboard": Viewer(
        lambda bin, file, port: [
            str(bin / "tensorboard"), "--logdir", str(file), "--host", "127.0.0.1",
            "--port", str(port), "--load_fast", "false",
        ],
        lambda _: "/#graphs",
        "(() => {" + _DEEP + "return !!deep(document, 'g.node'); })()",
    ),
    "model_explorer": Viewer(
        lambda bin, file, port: [
            str(bin / "model-explorer"), str(file), "--host", "127.0.0.1",
            "--port", str(port), "--extensions", "model_explorer_onnx",
            "--no_open_in_browser", "--skip_health_check",
        ],
        lambda file: "/?data=" + quote(json.dumps({"models": [{"url": str(file)}]})),
        "(() => {" + _DEEP + "return !!deep(document, 'canvas'); })()",
    ),
}  # fmt: skip


def main(name: str, bin: str, file: str) -> None:
    """Prints the seconds."""
    viewer, path = VIEWERS[name], Path(file).resolve()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with _served(viewer.serve(Path(bin), path, port), port), _page() as page:
        seconds = _draw(page, f"http://127.0.0.1:{port}{viewer.page(path)}", viewer.drawn)
    sys.stdout.write(json.dumps({"drawn": seconds}) + "\n")


@contextmanager
def _served(command: list[str], port: int) -> Iterator[None]:
    """The viewer's server, once it answers."""
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + PATIENCE
        while not _answers(port):
            if server.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(
                    f"error: {command[0]} does not serve (status {server.poll()})"
                )
            time.sleep(0.1)
        yield
    finally:
        server.terminate()
        server.wait(10)


def _answers(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
    except OSError:
        return False
    return True


@contextmanager
def _page() -> Iterator[Page]:
    """An empty page that can reach this machine only."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(_ARGUMENTS))
        try:
            context = browser.new_context(viewport={"width": 1280, "height": 900})
            # Netron asks for consent to count visits; as answered.
            consent = {"name": "consent", "value": "1", "url": "http://127.0.0.1"}
            context.add_cookies([consent])  # type: ignore[list-item]
            context.route("**/*", _local_only)
            page = context.new_page()
            page.goto("about:blank")
            yield page
        finally:
            browser.close()


def _local_only(route: Route) -> None:
    if urlsplit(route.request.url).hostname in ("127.0.0.1", None):
        route.continue_()
    else:
        route.abort()


def _draw(page: Page, url: str, drawn: str) -> float:
    # Over the protocol: Netron replaces eval, which page.evaluate needs.
    session = page.context.new_cdp_session(page)

    def ask(expression: str) -> object:
        answer = session.send(
            "Runtime.evaluate",
            {"expression": expression, "returnByValue": True, "awaitPromise": True},
        )
        return answer["result"].get("value")

    start = time.perf_counter()
    page.goto(url, wait_until="commit")
    while (answer := ask(drawn)) is not True:
        if isinstance(answer, str):
            raise SystemExit(f"error: {' '.join(answer.split())}")
        if time.perf_counter() - start > PATIENCE:
            raise SystemExit(f"error: not drawn after {PATIENCE:.0f} s")
        time.sleep(_STEP)
    ask("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return time.perf_counter() - start


if __name__ == "__main__":
    main(*sys.argv[1:])
