"""Skip connections of a flat graph."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from exporter.conditions.controlnet import COND
from exporter.reading.flow import Flow
from exporter.values import dims


@dataclass(frozen=True)
class Skip:
    """A value that waits while the trunk is computed from it, and is concatenated back.

    Attributes:
        id: Number in order of sources, 0 for the first one produced.
        source: Node that produces the value, or what a ControlNet's residual is added to.
        sink: Concat that consumes it.
        value: The value as the sink consumes it, (B, C, H/2^k, W/2^k).
    """

    id: int
    source: ir.Node
    sink: ir.Node
    value: ir.Value


def find_skips(flow: Flow) -> list[Skip]:
    """Channel Concats of two images of which one was computed from the other.

    That is what a skip connection is: ``concat(trunk, x)`` where the trunk has left ``x`` and
    come back. A Concat of two independent branches is none.
    """
    found = []
    for node in flow.nodes:
        pair = _images(node, flow)
        if pair is None:
            continue
        for value, trunk in (pair, pair[::-1]):
            source = _source(value, flow.ancestors(trunk), flow)
            if source is not None:
                found.append((source, node, value))
                break
    found.sort(key=lambda skip: (flow.order[skip[0]], -flow.order[skip[1]]))
    return [Skip(index, *skip) for index, skip in enumerate(found)]


def residual_of(node: ir.Node, flow: Flow) -> ir.Value | None:
    """The residual from outside that a node adds to the image: an input as large as it."""
    if node.op_type != "Add":
        return None
    images = [value for value in node.inputs if flow.is_image(value)]
    others = [value for value in node.inputs if value is not None and value not in images]
    if len(images) != 1 or len(others) != 1:
        return None
    (other,) = others
    carries = other.is_graph_input() and bool(flow.sources(other))
    return other if carries and len(dims(other) or ()) == 4 else None


def control_of(node: ir.Node, flow: Flow) -> tuple[ir.Value, ir.Value] | None:
    """The image and what a ControlNet in the graph adds to it, if that is what a node does."""
    if node.op_type != "Add" or len(node.inputs) != 2:
        return None
    first, second = node.inputs
    if first is None or second is None or not (flow.is_image(first) and flow.is_image(second)):
        return None
    knows = [any(s.startswith(COND) for s in flow.sources(v)) for v in (first, second)]
    if sum(knows) != 1:
        return None
    return (first, second) if knows[1] else (second, first)


def _source(value: ir.Value, before: set[ir.Node], flow: Flow) -> ir.Node | None:
    """Where the trunk left a value, seen through residuals added to the value alone."""
    node = value.producer()
    while node is not None and node not in before:
        control = control_of(node, flow)
        if control is None and residual_of(node, flow) is None:
            return None
        images = (operand for operand in node.inputs if flow.is_image(operand))
        image = control[0] if control else next(images)
        node = image.producer() if image is not None else None
    return node


def _images(node: ir.Node, flow: Flow) -> tuple[ir.Value, ir.Value] | None:
    if node.op_type != "Concat" or len(node.inputs) != 2:
        return None
    first, second = node.inputs
    if first is None or second is None or node.attributes["axis"].as_int() not in (1, -3):
        return None
    if not (flow.is_image(first) and flow.is_image(second)):
        return None
    return (first, second) if len(dims(first) or ()) == len(dims(second) or ()) == 4 else None
