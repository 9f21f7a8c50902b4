"""Our pages: served in pieces, or as one file that asks for nothing.

A page is a folder of ``web/`` with an ``index.html`` that names its styles and its module.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from viewer.serve.bundle import bundle, modules

WEB = Path(__file__).parent.parent / "web"
Page = Literal["page", "replay"]

_DATA = "<!-- data -->"
_LINK = re.compile(r' *<link rel="(\w+)" href="/web/([\w/.-]+)"[^>]*>\n')
_ENTRY = re.compile(r'<script type="module" src="/web/([\w/.-]+)"></script>')


def served(page: Page, shown: Mapping[str, Any]) -> bytes:
    """A page whose styles and modules the server hands out.

    Args:
        page: Which one.
        shown: What its script is told; every text in it is untrusted.
    """
    html = _index(page)
    # All modules at once, not in as many rounds as their imports are deep.
    names = modules(WEB, _entry(html))
    links = [f'<link rel="modulepreload" href="/web/{name}" />' for name in names]
    return html.replace(_DATA, "\n".join([*links, _script(shown)])).encode(errors="replace")


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
