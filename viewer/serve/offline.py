"""The page as one self-contained HTML file: no server, no Netron, no other file."""

from __future__ import annotations

import base64
import hashlib
import json
import posixpath
import re
from pathlib import Path

from viewer.disk import write_whole
from viewer.serve.shown import WEB, Shown, embed

_IMPORT = re.compile(r'^import \{([^}]*)\} from "([./\w-]+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?:async )?(?:function|class|const) (\w+)", re.MULTILINE)


def page(shown: Shown) -> str:
    """The whole page as text; every name from the model is data in it, never markup.

    Args:
        shown: One model, or two to compare.

    Returns:
        HTML that opens from ``file://`` and asks for nothing; its policy allows only the
        script and the style that are in it, by their hashes.
    """
    script = bundle("page/main.js")
    style = (WEB / "page/atlas.css").read_text(encoding="utf-8")
    icon = base64.b64encode((WEB / "page/icon.svg").read_bytes()).decode()
    style = style.replace('url("icon.svg")', f"url(data:image/svg+xml;base64,{icon})")
    about = shown.about()
    about["atlases"] = [json.loads(atlas) for atlas in shown.atlases]
    about["comparison"] = shown.comparison
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    return (
        '<!DOCTYPE html>\n<html lang="en" data-theme="auto">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>UNet Atlas</title>\n<style>{style}</style>\n</head>\n<body>\n"
        '<a class="skip-link" href="#map">To the map</a>\n<div id="app"></div>\n'
        f'<script id="shown" type="application/json">{embed(about)}</script>\n'
        f'<script type="module">{script}</script>\n</body>\n</html>\n'
    )


def bundle(entry: str) -> str:
    """Our modules as one, in the order of their imports, each in a scope of its own.

    They import and export by name only, so that two regular expressions are all it takes.
    """
    order: list[str] = []

    def visit(name: str) -> None:
        for _, needed in _IMPORT.findall(_source(name)):
            path = _resolve(name, needed)
            if path not in order:
                visit(path)
        order.append(name)

    visit(entry)
    pieces = [f'$["{name}"] = (() => {{\n{_scoped(name)}}})();' for name in order[:-1]]
    text = "\n".join(["const $ = {};", *pieces, _linked(entry)])
    return text.replace("</script", "<\\/script")


def _source(name: str) -> str:
    return (WEB / name).read_text(encoding="utf-8")


def _resolve(name: str, needed: str) -> str:
    """The module that ``name`` imports as ``needed``, e.g. ``../page/dom.js``."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), needed))


def _linked(name: str) -> str:
    def link(found: re.Match[str]) -> str:
        return f'const {{{found[1]}}} = $["{_resolve(name, found[2])}"];\n'

    return _IMPORT.sub(link, _source(name))


def _scoped(name: str) -> str:
    names = ", ".join(_EXPORT.findall(_source(name)))
    body = re.sub(r"^export ", "", _linked(name), flags=re.MULTILINE)
    return f"{body}return {{ {names} }};\n"


def write(shown: Shown, target: Path) -> None:
    """Writes the page, complete or not at all.

    Raises:
        TargetError: It cannot be written there.
    """
    write_whole(target, page(shown).encode(errors="replace"))


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
