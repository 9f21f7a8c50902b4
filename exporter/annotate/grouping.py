"""Modules where a file tells of none or calls none: by the U itself, and by numbered lists."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import onnx_ir as ir

from exporter import metadata as meta
from exporter.paths import upwards

_CHANGES = frozenset({"skip", "upsample", "downsample"})


def by_lists(graph: ir.Graph, classes: Mapping[str, str]) -> dict[str, str]:
    """The classes, and every numbered entry of a list that holds more than one module.

    ``input_blocks.1`` of OpenAI's UNet is a list that nobody calls, and yet a block.

    Args:
        graph: Flat, modules told.
        classes: Class of every known module by path.
    """
    children: dict[str, set[str]] = {}
    for node in graph:
        chain = [*upwards(node.metadata_props[meta.MODULE])]
        for inner, outer in pairwise(chain):
            children.setdefault(outer, set()).add(inner)
    return {
        **{
            path: ""
            for path, inside in children.items()
            if path.rpartition(".")[2].isdigit() and len(inside) > 1
        },
        **classes,
    }


def settle(graph: ir.Graph, classes: Mapping[str, str]) -> None:
    """Moves the Concat of a skip, and what resizes, into the outermost block that reads it.

    A UNet that does both in its own ``forward`` leaves them outside of every block.

    Args:
        graph: Flat and annotated; modified in place.
        classes: As ``by_lists`` gave them.
    """
    for node in reversed(list(graph)):
        if node.metadata_props[meta.MODULE] or node.metadata_props[meta.ROLE] not in _CHANGES:
            continue
        readers = {
            _block(use.node.metadata_props[meta.MODULE], classes)
            for value in node.outputs
            for use in value.uses()
            if use.node.metadata_props[meta.ROLE] != "shape"
        }
        if len(readers) == 1 and (block := readers.pop()):
            node.metadata_props[meta.MODULE] = block


def by_sides(graph: ir.Graph) -> dict[str, str]:
    """Modules for a graph whose nodes tell of none: each side's nodes of each level.

    Args:
        graph: Flat and annotated; modified in place.

    Returns:
        The new modules, without a class.
    """
    found: dict[str, str] = {"": ""}
    for node in reversed(list(graph)):
        props = node.metadata_props
        side, level = props.get(meta.SIDE), props.get(meta.LEVEL)
        if side and level:
            props[meta.MODULE] = f"{side}.{level}"
            found[props[meta.MODULE]] = ""
        elif props[meta.ROLE] not in ("conv_in", "conv_out"):
            uses = (use.node for value in node.outputs for use in value.uses())
            readers = {user.metadata_props[meta.MODULE] for user in uses}
            props[meta.MODULE] = readers.pop() if len(readers) == 1 else ""
    return found


def _block(path: str, classes: Mapping[str, str]) -> str:
    """The outermost module around a path that will be a function."""
    known = [p for p in upwards(path) if not classes.get(p, "torch.").startswith("torch.")]
    return known[-1] if known else ""
