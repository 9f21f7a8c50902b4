"""The page that replays a recording: served in pieces, or as one self-contained file."""

from __future__ import annotations

import base64
import hashlib
import json

from viewer.model.atlas import Atlas
from viewer.model.recording import Recording
from viewer.serve.offline import bundle
from viewer.serve.shown import WEB, embed

ENTRY = "replay/replay.js"
_STYLES = ("page/atlas.css", "replay/replay.css")
_HEAD = (
    '<!DOCTYPE html>\n<html lang="en" data-theme="auto">\n<head>\n<meta charset="utf-8">\n'
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    '<meta name="referrer" content="no-referrer">\n'
)
_BODY = (
    '</head>\n<body>\n<a class="skip-link" href="#map">To the map</a>\n<div id="app"></div>\n'
)
_END = "</body>\n</html>\n"


def served_page(recording: Recording, models: int) -> bytes:
    """The page whose modules, map and tensors the server hands out.

    Args:
        recording: What it replays; read over ``/recording/data``.
        models: How many models the server shows; without one there is no map.
    """
    shown = embed({"models": models, "file": recording.path.name})
    styles = "".join(f'<link rel="stylesheet" href="/web/{name}">\n' for name in _STYLES)
    text = (
        f"{_HEAD}<title>UNet Atlas</title>\n"
        f'<link rel="icon" href="/web/page/icon.svg" type="image/svg+xml">\n{styles}'
        f'<script id="shown" type="application/json">{shown}</script>\n'
        f'<script type="module" src="/web/{ENTRY}"></script>\n{_BODY}{_END}'
    )
    return text.encode(errors="replace")


def offline_page(content: bytes, atlas: Atlas | None) -> bytes:
    """The page as one file that opens from ``file://`` and asks for nothing.

    Args:
        content: A recording's bytes, condensed or whole; they go into the page.
        atlas: The model for the map, if it is at hand.
    """
    script = bundle(ENTRY)
    icon = base64.b64encode((WEB / "page/icon.svg").read_bytes()).decode()
    style = "\n".join((WEB / name).read_text(encoding="utf-8") for name in _STYLES)
    style = style.replace('url("icon.svg")', f"url(data:image/svg+xml;base64,{icon})")
    shown = {"models": 0, "atlas": _plain(atlas) if atlas is not None else None}
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    text = (
        f'{_HEAD}<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f"<title>UNet Atlas</title>\n<style>{style}</style>\n{_BODY}"
        f'<script id="shown" type="application/json">{embed(shown)}</script>\n'
        '<script id="recording" type="application/octet-stream;base64">'
        f"{base64.b64encode(content).decode()}</script>\n"
        f'<script type="module">{script}</script>\n{_END}'
    )
    return text.encode(errors="replace")


def _plain(atlas: Atlas) -> object:
    return json.loads(json.dumps(atlas.to_json(), default=str))


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
