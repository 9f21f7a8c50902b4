"""The hierarchy of calls and the flow of data through it, as plain frozen values.

A call and what happens inside it share their values: the value that enters a function is the
value its caller passed, so a path through the graph is the same path at every level.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from viewer.model.sizes import Shape

WEIGHT, ABSENT = -1, -2
"""In ``Node.inputs``: the next of ``Node.weights``; an optional operand left out."""

Flow = Literal["image", "time", "text", "prompt", "control", "skip", "shape"]


@dataclass(frozen=True)
class Weight:
    """A tensor that a node carries.

    Attributes:
        name: Name in the file.
        shape: Its sizes.
        dtype: ONNX name of the element type, e.g. ``FLOAT``.
        location: External-data location; empty when the bytes lie in the graph itself.
        offset: First byte in that file.
        length: Number of bytes.
        parameter: Whether it counts as a parameter of the model.
        values: Its numbers, when they are few and lie in the graph itself.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    location: str = ""
    offset: int = 0
    length: int = 0
    parameter: bool = False
    values: tuple[float, ...] = ()


@dataclass(frozen=True)
class Value:
    """One tensor that flows, at every level it is visible on.

    Attributes:
        id: Index in ``Tree.values``.
        name: Its outermost name.
        shape: Symbols and numbers; None when the file does not say.
        dtype: ONNX name of the element type; empty when unknown.
        producer: Leaf node that makes it; None for a graph input.
        flow: Which of the paths through a UNet it belongs to.
    """

    id: int
    name: str
    shape: Shape | None
    dtype: str
    producer: int | None
    flow: Flow = "image"


@dataclass(frozen=True)
class Node:
    """A call of a function, a group of nodes that share a module, or one operator.

    Attributes:
        id: Index in ``Tree.nodes``.
        parent: Enclosing call; None at the top.
        kind: ``call`` (has a function in the file), ``group`` (ours, for flat files; or a
            ``Loop`` with what it repeats), ``op``.
        path: Deep link: the segments from the top, joined with ``/``.
        name: Name in the file; for a group its module.
        op: Operator or function name.
        domain: Operator domain; empty for ONNX's own.
        metadata: ``metadata_props`` as written.
        module: Module path in the UNet.
        side: ``down``, ``mid``, ``up`` or empty.
        level: 0 at full latent resolution; None where there is no image.
        inputs: Values read, in order; ``WEIGHT`` or ``ABSENT`` where there is none.
        outputs: Values written.
        formals: Names of a function's inputs inside it.
        locals: Names of ``outputs`` in the enclosing scope.
        weights: Tensors the operator carries.
        attributes: Plain attributes of an operator.
        doc: Documentation in Markdown.
        params: Number of parameters inside.
        flops: Floating-point operations at the nominal size; None when not countable.
        uncounted: Operators in it whose cost is unknown: with any, ``flops`` is a lower bound.
        children: Nodes inside, in graph order.
    """

    id: int
    parent: int | None
    kind: Literal["call", "group", "op"]
    path: str
    name: str
    op: str
    domain: str
    metadata: Mapping[str, str]
    module: str
    side: str
    level: int | None
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    formals: tuple[str, ...] = ()
    locals: tuple[str, ...] = ()
    weights: tuple[Weight, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    doc: str = ""
    params: int = 0
    flops: int | None = None
    uncounted: int = 0
    children: tuple[int, ...] = ()

    @property
    def role(self) -> str:
        """What it does in the UNet (docs/FORMAT.md); empty when the file does not say."""
        return self.metadata.get("atlas.role", "")

    @property
    def cls(self) -> str:
        """Qualified class of its module."""
        return self.metadata.get("atlas.class", "")

    @property
    def source(self) -> str:
        """File and line that ran it."""
        return self.metadata.get("atlas.source", "")

    @property
    def segment(self) -> str:
        """Last part of ``path``."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class Tree:
    """Every node at every level, and the values between them.

    Attributes:
        nodes: By id; a parent comes before its children.
        values: By id.
        inputs: Values that the graph is fed.
        outputs: Values that it returns.
        top: Nodes of the outermost level, in graph order.
        truncated: Whether expansion stopped at the node limit.
    """

    nodes: tuple[Node, ...]
    values: tuple[Value, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    top: tuple[int, ...]
    truncated: bool = False

    @cached_property
    def by_path(self) -> Mapping[str, Node]:
        """Nodes by deep link."""
        return {node.path: node for node in self.nodes}

    @cached_property
    def leaves(self) -> tuple[Node, ...]:
        """The operators, in graph order."""
        return tuple(node for node in self.nodes if node.kind == "op")

    @cached_property
    def consumers(self) -> Mapping[int, tuple[int, ...]]:
        """Leaf nodes that read each value."""
        readers: dict[int, list[int]] = {}
        for node in self.leaves:
            for value in dict.fromkeys(node.inputs):
                if value >= 0:
                    readers.setdefault(value, []).append(node.id)
        return {value: tuple(nodes) for value, nodes in readers.items()}

    def ancestors(self, node: Node) -> list[Node]:
        """The calls around a node, outermost first; the node itself is not among them."""
        chain: list[Node] = []
        while node.parent is not None:
            node = self.nodes[node.parent]
            chain.append(node)
        return chain[::-1]

    def inside(self, node: Node) -> list[Node]:
        """The node and all that is in it, in graph order."""
        found = [node]
        for child in node.children:
            found += self.inside(self.nodes[child])
        return found
