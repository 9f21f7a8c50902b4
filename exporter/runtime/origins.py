"""Where in the UNet a node comes from, read from whatever its exporter left in the file."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection
from dataclasses import dataclass

import onnx_ir as ir

from exporter import metadata as meta
from exporter.paths import parent

_TORCH = "pkg.torch.onnx."
_FRAME = re.compile(r'File "([^"]+)", line (\d+)')


@dataclass(frozen=True)
class Origin:
    """What a node says about itself.

    Attributes:
        module: Module path as in ``get_submodule``; empty for the UNet itself.
        source: ``diffusers/...py:line``, where known.
        role: ``atlas.role``, where known.
    """

    module: str
    source: str = ""
    role: str = ""


def origin_of(node: ir.Node, modules: Collection[str]) -> Origin | None:
    """The origin of one node, or None where nothing tells.

    Four dialects are read, the first that speaks wins: our own metadata, torch's dynamo
    exporter's (scopes and stack trace), the scoped node names of torch's TorchScript exporter
    (Optimum's too), and the name of a parameter the node takes.

    Args:
        node: A node of a flat graph.
        modules: Every module path of the UNet; a wrapper's prefix is stripped to fit them.
    """
    props = node.metadata_props
    if meta.MODULE in props:
        return Origin(props[meta.MODULE], props.get(meta.SOURCE, ""), props.get(meta.ROLE, ""))
    if _TORCH + "name_scopes" in props:
        scopes = ast.literal_eval(props[_TORCH + "name_scopes"])[:-1]
        path = _fit(scopes[-1] if scopes else "", modules)
        if path is not None:
            return Origin(path, innermost(props.get(_TORCH + "stack_trace", "")))
    if (node.name or "").startswith("/"):
        path = _fit(".".join((node.name or "").split("/")[1:-1]), modules)
        if path is not None:
            return Origin(path)
    for value in node.inputs:
        if value is not None and value.name and value.is_initializer():
            path = _fit(parent(value.name), modules)
            if path:
                return Origin(path)
    return None


def innermost(trace: str) -> str:
    """The last diffusers frame of a stack trace as ``diffusers/...py:line``."""
    frames = [(file, line) for file, line in _FRAME.findall(trace) if "/diffusers/" in file]
    return short_source(*frames[-1]) if frames else ""


def short_source(file: str, line: int | str) -> str:
    """A source position without the machine's own path."""
    return f"diffusers/{file.replace(chr(92), '/').rpartition('/diffusers/')[2]}:{line}"


def _fit(path: str, modules: Collection[str]) -> str | None:
    """The path without the prefix of whatever wrapped the UNet, if the rest is a module."""
    while path:
        if path in modules:
            return path
        path = path.partition(".")[2]
    return None
