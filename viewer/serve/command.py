"""What the command lines that open a page have in common."""

from __future__ import annotations

import argparse
import webbrowser

from viewer.serve import netron
from viewer.serve.sampling import Sampler
from viewer.serve.server import Server
from viewer.serve.shown import Shown
from viewer.terminal import Whole, say


def add_page_options(parser: argparse.ArgumentParser) -> None:
    """Adds ``--host``, ``--port`` and ``--no-browser``."""
    page = parser.add_argument_group("the page")
    page.add_argument(
        "--host", default="127.0.0.1", help="address to serve on (default: %(default)s)"
    )
    page.add_argument(
        "--port", type=Whole(0, 65535), default=0, help="port (default: any free one)"
    )
    page.add_argument("--no-browser", action="store_true", help="do not open a browser")


def serve(
    shown: Shown,
    options: argparse.Namespace,
    title: str,
    place: str = "",
    sampler: Sampler | None = None,
) -> None:
    """Serves until Ctrl-C.

    Args:
        shown: What to show.
        options: Parsed flags of ``add_page_options``.
        title: What to call it in the line that names the address.
        place: The page to open, relative to the server's address.
        sampler: What runs the models, if they can be run.

    Raises:
        TargetError: The address cannot be listened on.
        NetronError: Netron is not installed.
    """
    with Server(shown, netron.find(), options.host, options.port, sampler) as server:
        try:  # from the line on that says how to end it
            say(f"{title}: {server.url}{place}  (Ctrl-C ends)")
            if not options.no_browser:
                webbrowser.open(server.url + place)
            server.serve_forever()
        except KeyboardInterrupt:
            return  # that is how it ends
