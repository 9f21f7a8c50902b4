"""Which nodes stay: those that carry data from right values to the first wrong one."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import onnx_ir as ir

from exporter.parity.locate import Departure

SIZES = frozenset({"Shape", "Size"})
"""Operators whose result depends on the shape of their input alone."""

LIKE = frozenset({"CastLike"})
"""Operators that take of their second input nothing but its type."""


@dataclass(frozen=True)
class Cut:
    """A part of a graph for one input.

    Attributes:
        nodes: What stays, in topological order.
        fed: Values that go in and depend on the input.
        frozen: Values that depend on parameters and sizes alone; constants for one case.
        end: What comes out.
    """

    nodes: tuple[ir.Node, ...]
    fed: tuple[ir.Value, ...]
    frozen: tuple[ir.Value, ...]
    end: ir.Value


def cut(departure: Departure) -> Cut:
    """The part of a graph between the values that a departure begins with and its end."""
    region = _between(departure.begin, departure.end, departure.flat.order)
    moving = _moving(region, departure)
    nodes = tuple(node for node in region if moving.intersection(node.outputs))
    made = {value for node in nodes for value in node.outputs}
    taken = [value for node in nodes for value in node.inputs if value is not None]
    outside = [value for value in dict.fromkeys(taken) if value not in made]
    fed = tuple(value for value in outside if value in moving)
    frozen = tuple(value for value in outside if value not in moving)
    return Cut(nodes, fed, frozen, departure.end)


def _between(
    begin: Collection[ir.Value], end: ir.Value, order: dict[ir.Node, int]
) -> list[ir.Node]:
    found: set[ir.Node] = set()
    waiting = [end]
    while waiting:
        value = waiting.pop()
        node = value.producer()
        if node is None or node in found or (value in begin and value is not end):
            continue
        found.add(node)
        waiting.extend(value for value in node.inputs if value is not None)
    return sorted(found, key=order.__getitem__)


def _moving(region: list[ir.Node], departure: Departure) -> set[ir.Value]:
    """Values whose numbers depend on the input, beyond the sizes that a case fixes."""
    inside = {value for node in region for value in node.outputs}
    edge = {value for node in region for value in node.inputs if value is not None} - inside
    moving = {value for value in edge if not _fixed(value, departure)}
    for node in region:
        if node.op_type in SIZES:
            continue
        taken = node.inputs[:1] if node.op_type in LIKE else node.inputs
        if moving.intersection(value for value in taken if value is not None):
            moving.update(node.outputs)
    return moving


def _fixed(value: ir.Value, departure: Departure) -> bool:
    producer = value.producer()
    if producer is None:
        return not value.is_graph_input() or value.is_initializer()
    return not producer.inputs or producer in departure.flat.constant or _is_size(producer)


def _is_size(node: ir.Node) -> bool:
    """Whether a node does arithmetic on sizes: nothing but shapes lead to it."""
    seen, waiting = set[ir.Node](), [node]
    while waiting:
        current = waiting.pop()
        if current in seen or current.op_type in SIZES:
            continue
        seen.add(current)
        for value in current.inputs:
            if value is None or value.is_initializer():
                continue
            producer = value.producer()
            if producer is None:
                return False
            waiting.append(producer)
    return True
