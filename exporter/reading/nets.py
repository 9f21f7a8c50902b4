"""What a ControlNet hands on: convolutions of one pixel, which began as zeros."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import onnx_ir as ir

from exporter.conditions.controlnet import OWN_COND
from exporter.reading.flow import Flow
from exporter.values import dims


@dataclass(frozen=True)
class Handed:
    """What computes residuals once the net itself is done.

    Attributes:
        nodes: The convolutions, and what scales and sums their results.
        taps: What each convolution reads: where the net is left.
    """

    nodes: tuple[ir.Node, ...] = ()
    taps: tuple[ir.Value, ...] = ()


def own_residuals(graph: ir.Graph) -> list[ir.Value]:
    """The outputs of a ControlNet that is a graph by itself; none for any other graph."""
    controlled = any(value.name == OWN_COND for value in graph.inputs)
    return list(graph.outputs) if controlled and len(graph.outputs) > 1 else []


def handed_on(residuals: Iterable[ir.Value], flow: Flow) -> Handed:
    """The way back from residuals to the convolutions that make them.

    Args:
        residuals: Outputs of a net, or what a UNet adds to its skips.
        flow: The graph.
    """
    nodes: dict[ir.Node, None] = {}
    taps: dict[ir.Value, None] = {}
    stack = list(residuals)
    while stack:
        node = stack.pop().producer()
        if node is None or node in nodes:
            continue
        if node.op_type in ("Add", "Mul"):
            nodes[node] = None
            stack += [value for value in node.inputs if value and flow.is_image(value)]
        elif node.op_type == "Conv" and (dims(node.inputs[1]) or ())[2:] == (1, 1):
            nodes[node] = None
            taps.update(dict.fromkeys(value for value in node.inputs[:1] if value))
    return Handed(tuple(nodes), tuple(taps))


def meets_control(node: ir.Node, flow: Flow) -> bool:
    """Whether a node adds the embedded control image to the latents."""
    if node.op_type != "Add":
        return False
    images = [value for value in node.inputs if flow.is_image(value)]
    others = [value for value in node.inputs if value is not None and value not in images]
    return len(images) == len(others) == 1 and is_control_image(others[0], flow)


def is_control_image(value: ir.Value, flow: Flow) -> bool:
    """Whether a value depends on control images and on nothing else."""
    sources = flow.sources(value)
    return bool(sources) and all(source.startswith(OWN_COND) for source in sources)
