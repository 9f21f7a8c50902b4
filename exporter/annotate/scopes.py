"""Modules of a file by any exporter, from what its nodes' names and metadata hold."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import onnx_ir as ir

from exporter import metadata as meta
from exporter.passes.origins import Origins
from exporter.paths import parent
from exporter.runtime.origins import innermost

_PLAIN = 3
"""A module that calls no other is left as plain operators up to so many: a Linear, a SiLU."""
_TORCH = "pkg.torch.onnx."


@dataclass(frozen=True)
class Scopes:
    """The modules of a graph.

    Attributes:
        classes: Qualified class of every module that computes by calling others, by path;
            empty where the file does not tell. A leaf (a Linear, a Conv2d) is ``torch.``.
        prefix: What was in front of every path: the module that wrapped the UNet.
        unscoped: Nodes that told nothing of themselves.
    """

    classes: Mapping[str, str]
    prefix: str
    unscoped: int


@dataclass(frozen=True)
class _Told:
    """What one node says: the chain of modules around it, outermost first, and its source."""

    chain: Sequence[str]
    classes: Sequence[str] = field(default=())
    source: str = ""


def write_scopes(model: ir.Model) -> Scopes:
    """Gives every node its ``atlas.module``, and its class and source where the file tells.

    Three dialects are read: scopes of torch's dynamo exporter, node names of its TorchScript
    exporter (``/unet/mid_block/resnets.0/conv1/Conv``; Optimum's too), names of parameters.
    Nodes that say nothing join those that read them (``Origins``).

    Args:
        model: A flat model; modified in place.
    """
    told = {node: said for node in model.graph if (said := _told(node)) is not None}
    prefix = _prefix([said.chain for said in told.values() if said.chain])
    classes: dict[str, str] = {"": ""}
    inner: set[str] = set()
    for node, said in told.items():
        chain = [_within(path, prefix) for path in said.chain]
        kinds = [*said.classes, *[""] * (len(chain) - len(said.classes))]
        for path, kind in zip(chain, kinds, strict=True):
            classes[path] = kind or classes.get(path, "")
        inner.update(chain[:-1])
        node.metadata_props[meta.MODULE] = chain[-1] if chain else ""
        if classes[node.metadata_props[meta.MODULE]]:
            node.metadata_props[meta.CLASS] = classes[node.metadata_props[meta.MODULE]]
        if said.source:
            node.metadata_props[meta.SOURCE] = said.source
    sizes = Counter(node.metadata_props[meta.MODULE] for node in told)
    for path, kind in classes.items():
        if not kind and path not in inner and sizes[path] <= _PLAIN:
            classes[path] = "torch."
    Origins(classes, remarks=True)(model)
    for node in model.graph:
        node.metadata_props.setdefault(meta.MODULE, "")
    return Scopes(classes, prefix, len(model.graph) - len(told))


def _told(node: ir.Node) -> _Told | None:
    props = node.metadata_props
    if _TORCH + "name_scopes" in props:
        scopes = _texts(props[_TORCH + "name_scopes"])[:-1]
        classes = _texts(props.get(_TORCH + "class_hierarchy", "[]"))[:-1]
        if scopes and len(scopes) == len(classes):
            known = [
                (scope, kind)
                for scope, kind in zip(scopes, classes, strict=True)
                if scope and not scope.startswith("_empty_nn_module")
            ]
            source = innermost(props.get(_TORCH + "stack_trace", ""))
            return _Told([s for s, _ in known], [c for _, c in known], source)
    if (node.name or "").startswith("/"):
        return _Told(_chain((node.name or "").split("/")[1:-1]))
    for value in node.inputs:
        if value is not None and value.is_initializer() and "." in (value.name or ""):
            path = parent(value.name or "")
            if re.fullmatch(r"\w+(\.\w+)*", path):
                return _Told(_called(path.split(".")))
    return None


def _called(pieces: Sequence[str]) -> list[str]:
    """Modules on a parameter's path; one that holds numbered ones is a mere list."""
    listed = [piece.isdigit() for piece in (*pieces[1:], "")]
    paths = [".".join(pieces[: index + 1]) for index in range(len(pieces))]
    return [path for path, is_list in zip(paths, listed, strict=True) if not is_list]


def _chain(pieces: Sequence[str]) -> list[str]:
    """``unet, layer1, layer1.0, conv``: a Sequential's children repeat its name."""
    found: list[str] = []
    last = ""
    for piece in pieces:
        inside = bool(last) and piece.startswith(last + ".")
        around = _around(found, inside)
        found.append(f"{around}.{piece}" if around else piece)
        last = piece
    return found


def _around(chain: Sequence[str], inside: bool) -> str:
    """What a further piece hangs on: the last path, or the one before where it repeats it."""
    rest = chain[:-1] if inside else chain
    return rest[-1] if rest else ""


def _prefix(chains: Sequence[Sequence[str]]) -> str:
    """The one module that all the others are inside of."""
    first = {chain[0] for chain in chains}
    if len(first) != 1 or all(len(chain) == 1 for chain in chains):
        return ""
    return first.pop()


def _within(path: str, prefix: str) -> str:
    return path[len(prefix) :].removeprefix(".") if prefix else path


def _texts(text: str) -> list[str]:
    try:
        value = ast.literal_eval(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    return [str(one) for one in value] if isinstance(value, list) else []
