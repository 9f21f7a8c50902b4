"""Our pages: served with one script and one style each, or as one file that asks for nothing.

A page is a folder of ``web/`` with an ``index.html`` that names its styles and its module.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

from viewer.serve.bundle import bundle

WEB = Path(__file__).parent.parent / "web"
Page = Literal["page", "replay"]

_NETRON_STYLES = ("page/roles.css", "netron/overlay.css")
_DATA = "<!-- data -->"
_STYLE = re.compile(r' *<link rel="stylesheet"[^>]*>\n')
_LINK = re.compile(r' *<link rel="(\w+)" href="/web/([\w/.-]+)"[^>]*>\n')
_ENTRY = re.compile(r'<script type="module" src="/web/([\w/.-]+)"></script>')


def served(page: Page, shown: Mapping[str, Any], asked: Sequence[str] = ()) -> bytes:
    """A page whose style and script the server hands out, see ``piece``.

    Args:
        page: Which one.
        shown: What its script is told; every text in it is untrusted.
        asked: Addresses that its script will ask for: a browser then does so at once.
    """
    html = _ENTRY.sub(f'<script type="module" src="/{page}.js"></script>', _index(page))
    html = _STYLE.sub("", html)
    data = [
        f'<link rel="stylesheet" href="/{page}.css" />',
        *(f'<link rel="preload" as="fetch" href="{one}" crossorigin />' for one in asked),
        _script(shown),
    ]
    return html.replace(_DATA, "\n".join(data)).encode(errors="replace")


@cache
def piece(page: Page | Literal["netron"], kind: Literal["js", "css"]) -> bytes:
    """All modules of a page as one script, or all its styles as one.

    A browser asks for six files at a time: seventy are there later than one. ``netron`` is
    what we add to Netron's page.
    """
    if page == "netron":
        styles = (WEB / name for name in _NETRON_STYLES)
        text = "\n".join(one.read_text(encoding="utf-8") for one in styles)
        return (bundle(WEB, "netron/overlay.js") if kind == "js" else text).encode()
    html = _index(page)
    return (bundle(WEB, _entry(html)) if kind == "js" else _style(html)).encode()


def self_contained(page: Page, shown: Mapping[str, Any], recording: bytes = b"") -> bytes:
    """A page as one file that opens from ``file://``, without a server or Netron.

    Its policy allows only the script and the style that are in it, by their hashes.

    Args:
        page: Which one.
        shown: What its script is told; every text in it is untrusted.
        recording: Bytes of a recording that the page reads.
    """
    html = _index(page)
    script, style = bundle(WEB, _entry(html)), _style(html)
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    data = [
        f'<meta http-equiv="Content-Security-Policy" content="{policy}" />',
        f"<style>{style}</style>",
        _script(shown),
    ]
    if recording:
        kind = "application/octet-stream;base64"
        encoded = base64.b64encode(recording).decode()
        data.append(f'<script id="recording" type="{kind}">{encoded}</script>')
    html = _ENTRY.sub(
        lambda _: f'<script type="module">{script}</script>', _LINK.sub("", html)
    )
    return html.replace(_DATA, "\n".join(data), 1).encode(errors="replace")


def embed(value: Any) -> str:
    """JSON that is safe between ``<script>`` tags whatever names it holds."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=str)
    return (
        text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    )


def _script(shown: Mapping[str, Any]) -> str:
    return f'<script id="shown" type="application/json">{embed(shown)}</script>'


def _index(page: Page) -> str:
    return (WEB / page / "index.html").read_text(encoding="utf-8")


def _entry(html: str) -> str:
    found = _ENTRY.search(html)
    assert found is not None
    return found[1]


def _style(html: str) -> str:
    names = [name for rel, name in _LINK.findall(html) if rel == "stylesheet"]
    style = "\n".join((WEB / name).read_text(encoding="utf-8") for name in names)
    icon = base64.b64encode((WEB / "page/icon.svg").read_bytes()).decode()
    return style.replace('url("icon.svg")', f"url(data:image/svg+xml;base64,{icon})")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
