"""The page as one self-contained HTML file: no server, no Netron, no other file."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path

from viewer.errors import TargetError
from viewer.session import WEB, Session, embed

_IMPORT = re.compile(r'^import \{([^}]*)\} from "\./([\w-]+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?:async )?(?:function|class|const) (\w+)", re.MULTILINE)


def page(session: Session) -> str:
    """The whole page as text; every name from the model is data in it, never markup.

    Args:
        session: One model, or two to compare.

    Returns:
        HTML that opens from ``file://`` and asks for nothing; its policy allows only the
        script and the style that are in it, by their hashes.
    """
    script = bundle("main.js")
    style = (WEB / "atlas.css").read_text(encoding="utf-8")
    icon = base64.b64encode((WEB / "icon.svg").read_bytes()).decode()
    style = style.replace('url("icon.svg")', f"url(data:image/svg+xml;base64,{icon})")
    about = session.about()
    about["atlases"] = [json.loads(atlas) for atlas in session.atlases]
    about["comparison"] = session.comparison
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
        f'<script id="session" type="application/json">{embed(about)}</script>\n'
        f'<script type="module">{script}</script>\n</body>\n</html>\n'
    )


def bundle(entry: str) -> str:
    """Our modules as one, in the order of their imports, each in a scope of its own.

    They import and export by name only, so that two regular expressions are all it takes.
    """
    order: list[str] = []

    def visit(name: str) -> None:
        for _, needed in _IMPORT.findall(_source(name)):
            if needed not in order:
                visit(needed)
        order.append(name)

    visit(entry)
    pieces = [f'$["{name}"] = (() => {{\n{_scoped(name)}}})();' for name in order[:-1]]
    text = "\n".join(["const $ = {};", *pieces, _linked(entry)])
    return text.replace("</script", "<\\/script")


def _source(name: str) -> str:
    return (WEB / name).read_text(encoding="utf-8")


def _linked(name: str) -> str:
    return _IMPORT.sub(r'const {\1} = $["\2"];\n', _source(name))


def _scoped(name: str) -> str:
    names = ", ".join(_EXPORT.findall(_source(name)))
    body = re.sub(r"^export ", "", _linked(name), flags=re.MULTILINE)
    return f"{body}return {{ {names} }};\n"


def write(session: Session, target: Path) -> None:
    """Writes the page, complete or not at all.

    Raises:
        TargetError: It cannot be written there.
    """
    write_whole(target, page(session).encode(errors="replace"))


def write_whole(target: Path, content: bytes) -> None:
    """Writes a sibling first and renames it, so that nothing half-written is left behind.

    Raises:
        TargetError: It cannot be written there.
    """
    sibling = target.with_name(f".{target.name}.part")
    try:
        sibling.write_bytes(content)
        sibling.replace(target)
    except OSError as error:
        sibling.unlink(missing_ok=True)
        raise TargetError(
            f"{target} cannot be written ({error.strerror})", do="choose another place"
        ) from error


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
