"""Operators under one scoped name each, for viewers that read a hierarchy off ``a/b/c``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from viewer.model.atlas import Atlas
from viewer.model.names import Names
from viewer.model.tree import Node, Tree, Value
from viewer.outputs.figures.figure import shape_text

_UNSAFE = re.compile(r"[^A-Za-z0-9_.]")


@dataclass(frozen=True)
class Scopes:
    """Names for every operator, input and output of a model.

    Attributes:
        atlas: A read model.
    """

    atlas: Atlas

    @cached_property
    def names(self) -> Mapping[int, str]:
        """Scoped name of each operator by node id; no name is also a scope."""
        tree, taken = self.atlas.tree, set(self.inputs.values()) | set(self.outputs.values())
        found: dict[int, str] = {}
        scopes = {node.id: _clean(node.path) for node in tree.nodes if node.kind != "op"}
        shared = Counter((node.parent, _module(node)) for node in tree.leaves)
        taken |= set(scopes.values())
        taken |= {
            _under(scopes, node, _module(node))
            for node in tree.leaves
            if shared[node.parent, _module(node)] > 1 and _module(node)
        }
        names = Names(taken)
        for node in tree.leaves:
            within = _module(node)
            alone = shared[node.parent, within] == 1
            op = _clean(_segment(node.op))
            local = (within if alone else f"{within}/{op}") if within else op
            found[node.id] = names.fresh(_under(scopes, node, local))
        return found

    @cached_property
    def inputs(self) -> Mapping[int, str]:
        """Name of each graph input by value id."""
        return _ports(self.atlas.tree, self.atlas.tree.inputs, ())

    @cached_property
    def outputs(self) -> Mapping[int, str]:
        """Name of each graph output by value id."""
        return _ports(self.atlas.tree, self.atlas.tree.outputs, self.inputs.values())

    def scope(self, node: Node) -> str:
        """Scope of a call or group: what the names of the operators in it begin with."""
        return _clean(node.path)

    def origin(self, value: Value) -> tuple[str, int] | None:
        """Name of what makes a value and which of its outputs it is; None for nothing."""
        if value.id in self.inputs:
            return self.inputs[value.id], 0
        if value.producer is None:
            return None
        made = self.atlas.tree.nodes[value.producer].outputs
        return self.names[value.producer], made.index(value.id) if value.id in made else 0

    def facts(self, node: Node) -> dict[str, str]:
        """What the file says of a node, as text under short keys; unknown things left out."""
        tree = self.atlas.tree
        heads = {key: node.metadata.get(f"atlas.{key}", "") for key in _ATTENTION}
        weights = (f"{weight.name} ({shape_text(weight.shape)})" for weight in node.weights)
        shapes = (shape_text(tree.values[value].shape) for value in node.outputs)
        said = {
            "role": node.role,
            "module": node.module,
            "class": node.cls,
            "source": node.source,
            "side": node.side,
            "level": "" if node.level is None else str(node.level),
            "skip": node.metadata.get("atlas.skip", ""),
            **heads,
            "shape": ", ".join(shape for shape in shapes if shape),
            "weights": ", ".join(weights),
            "params": str(node.params or ""),
            "flops": f"{_least(node)}{node.flops or ''}",
        }
        said |= {key: str(value) for key, value in node.attributes.items()}
        return {key: value for key, value in said.items() if value}


_ATTENTION = ("q", "k", "v", "heads", "head_dim")


def _least(node: Node) -> str:
    return "at least " if node.flops and node.uncounted else ""


def _module(node: Node) -> str:
    """A leaf's module below the call around it; empty for the call's own operators."""
    base = node.segment.partition("~")[0]
    return "" if base == _segment(node.op) else _clean(base)


def _segment(op: str) -> str:
    return re.sub(r"[/?#&%\s]", "_", op)


def _under(scopes: Mapping[int, str], node: Node, local: str) -> str:
    outer = scopes[node.parent] if node.parent is not None else ""
    return f"{outer}/{local}" if outer else local


def _clean(path: str) -> str:
    """Letters, digits, dots and underscores between slashes, as TensorFlow's names have."""
    parts = (_UNSAFE.sub("_", part) for part in path.split("/"))
    return "/".join(part if part[:1].isalnum() else f"x{part}" for part in parts)


def _ports(tree: Tree, values: tuple[int, ...], taken: Iterable[str]) -> dict[int, str]:
    names = Names(taken)
    return {v: names.fresh(_clean(tree.values[v].name.replace("/", "_"))) for v in values}
