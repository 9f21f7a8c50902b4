"""Our JavaScript modules in the order of their imports, as one script.

They import and export by name only, so that two regular expressions are all it takes.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

_IMPORT = re.compile(r'^import \{([^}]*)\} from "([./\w-]+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?:async )?(?:function|class|const) (\w+)", re.MULTILINE)


def modules(folder: Path, entry: str) -> list[str]:
    """A module and all that it needs, each after what it imports.

    Args:
        folder: Where the modules lie.
        entry: The module that is run, e.g. ``page/main.js``.
    """
    order: list[str] = []

    def visit(name: str) -> None:
        for _, needed in _IMPORT.findall((folder / name).read_text(encoding="utf-8")):
            path = _resolved(name, needed)
            if path not in order:
                visit(path)
        order.append(name)

    visit(entry)
    return order


def bundle(folder: Path, entry: str) -> str:
    """The same as one script, safe between ``<script>`` tags: each in a scope of its own."""
    pieces = ["const $ = {};"]
    for name in modules(folder, entry):
        source = (folder / name).read_text(encoding="utf-8")
        exported = ", ".join(_EXPORT.findall(source))
        body = re.sub(r"^export ", "", _linked(name, source), flags=re.MULTILINE)
        if name != entry:
            body = f'$["{name}"] = (() => {{\n{body}return {{ {exported} }};\n}})();'
        pieces.append(body)
    return "\n".join(pieces).replace("</script", "<\\/script")


def _resolved(name: str, needed: str) -> str:
    """The module that ``name`` imports as ``needed``, e.g. ``../page/dom.js``."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), needed))


def _linked(name: str, source: str) -> str:
    def link(found: re.Match[str]) -> str:
        return f'const {{{found[1]}}} = $["{_resolved(name, found[2])}"];\n'

    return _IMPORT.sub(link, source)
