"""A view as PNG or SVG from the command line: a Chromium without a window draws it."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Literal
from urllib.parse import quote, urlencode

from viewer.errors import BrowserError
from viewer.serve.server import Server

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PATIENCE = 60.0
"""Seconds to wait for the figure."""

View = Literal["map", "graph", "figure"]
Format = Literal["png", "svg"]


def find_browser() -> str:
    """Path of a Chromium or Chrome.

    Raises:
        BrowserError: None is installed.
    """
    wished = os.environ.get("ATLAS_BROWSER")
    for name in (wished,) if wished else BROWSERS:
        path = shutil.which(name)
        if path is not None:
            return path
    raise BrowserError(
        "no browser to draw with was found" if not wished else f"no browser at {wished}",
        f"one of {', '.join(BROWSERS)}",
        "install Chromium, or name one in ATLAS_BROWSER",
    )


def draw(
    server: Server,
    format: Format,
    view: View = "map",
    at: str = "",
    dark: bool = False,
) -> bytes:
    """Has one view of a running viewer drawn.

    Args:
        server: The viewer, already serving.
        format: What to draw it as.
        view: The map, Netron's graph, or the figure of a panel.
        at: Where to stand, as in the page's address after ``#/``.
        dark: Whether to use the dark theme.

    Returns:
        The file's bytes.

    Raises:
        BrowserError: There is no browser, or it gave no figure in time.
    """
    browser = find_browser()
    query = urlencode({"export": view, "format": format, "token": server.token})
    url = f"{server.url}?{query}#/{quote(at, safe='/?=&')}"
    with tempfile.TemporaryDirectory(prefix="atlas-", ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [browser, *_arguments(Path(profile), dark), url],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            content = _wait(server, process)
        finally:
            _end(process)
    if not content:
        raise BrowserError(f"there is no {view} to draw here", do="try --view map")
    return content


def _wait(server: Server, process: subprocess.Popen[bytes]) -> bytes:
    waited = 0.0
    while waited < PATIENCE:
        try:
            return server.uploads.get(timeout=0.5)
        except queue.Empty:
            waited += 0.5
        if process.poll() is not None:
            raise BrowserError(f"the browser ended with code {process.returncode}")
    raise BrowserError(f"the browser gave no figure within {PATIENCE:.0f} seconds")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends the browser with its helpers, which would still write into its profile."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait(10)


def _arguments(profile: Path, dark: bool) -> list[str]:
    arguments = [
        "--headless=new",
        "--disable-gpu",
        "--no-first-run",
        "--disable-extensions",
        "--disable-background-networking",
        "--window-size=1600,1000",
        f"--user-data-dir={profile}",
    ]
    if dark:
        arguments.append("--blink-settings=preferredColorScheme=0")
    # Chromium's sandbox refuses to run as root, as in most containers.
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        arguments.append("--no-sandbox")
    return arguments
