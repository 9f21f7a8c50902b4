"""Skip connections of a flat graph."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from exporter.reading.flow import Flow
from exporter.values import dims


@dataclass(frozen=True)
class Skip:
    """A value that waits while the trunk is computed from it, and is concatenated back.

    Attributes:
        id: Number in order of sources, 0 for the first one produced.
        source: Node that produces the value.
        sink: Concat that consumes it.
        value: The value itself, (B, C, H/2^k, W/2^k).
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
            source = value.producer()
            if source is not None and source in flow.ancestors(trunk):
                found.append((source, node, value))
                break
    found.sort(key=lambda skip: (flow.order[skip[0]], -flow.order[skip[1]]))
    return [Skip(index, *skip) for index, skip in enumerate(found)]


def _images(node: ir.Node, flow: Flow) -> tuple[ir.Value, ir.Value] | None:
    if node.op_type != "Concat" or len(node.inputs) != 2:
        return None
    first, second = node.inputs
    if first is None or second is None or node.attributes["axis"].as_int() not in (1, -3):
        return None
    if not (flow.is_image(first) and flow.is_image(second)):
        return None
    return (first, second) if len(dims(first) or ()) == len(dims(second) or ()) == 4 else None
