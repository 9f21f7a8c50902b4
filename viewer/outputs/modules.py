"""Finding a module by its path, and saying which there are when it is not found."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from viewer.errors import TargetError
from viewer.model.atlas import Atlas
from viewer.model.tree import Node


def find_module(atlas: Atlas, module: str) -> Node:
    """The outermost call or group of a module.

    Args:
        atlas: A read model.
        module: As in ``get_submodule`` (``mid_block.attentions.0``), or ``Node.path``.

    Raises:
        TargetError: The model has no such module, or it is a single operator.
    """
    with_parts = [node for node in atlas.tree.nodes if node.children]
    for node in with_parts:
        if module in (node.module, node.path):
            return node
    raise unknown_module(atlas, module, [n.module or n.path for n in with_parts])


def unknown_module(atlas: Atlas, module: str, names: Iterable[str]) -> TargetError:
    """The error for a module that is not there, with those that sound like it."""
    known = list(dict.fromkeys(names))
    close = difflib.get_close_matches(module, known, 3, 0.3) or known[:3]
    expected = f"e.g. {', '.join(close)}" if close else ""
    do = "" if close else "this file names no modules"
    return TargetError(f"{atlas.file.path.name} has no module {module!r}", expected, do)
