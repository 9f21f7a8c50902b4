"""Module paths of a flat graph's nodes, as a tree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import onnx_ir as ir

from exporter import metadata as meta
from exporter.paths import parent


def module_of(node: ir.Node) -> str:
    """Path of the module that a node ran in: ``mid_block.resnets.0``."""
    return node.metadata_props[meta.MODULE]


def parent_of(module: str) -> str | None:
    """The module around ``module``; None around the UNet itself, whose path is empty."""
    return parent(module) if module else None


def children_of(module: str, modules: Mapping[str, list[ir.Node]]) -> list[str]:
    """Modules directly inside ``module``."""
    return [other for other in modules if other and parent_of(other) == module]


def subtrees(nodes: Iterable[ir.Node]) -> dict[str, list[ir.Node]]:
    """Nodes of every module, those of its submodules included."""
    found: dict[str, list[ir.Node]] = {}
    for node in nodes:
        module: str | None = module_of(node)
        while module is not None:
            found.setdefault(module, []).append(node)
            module = parent_of(module)
    return found
