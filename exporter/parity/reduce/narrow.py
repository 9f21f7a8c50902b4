"""One output channel instead of all, where the last operators allow it: smaller weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from exporter.parity.reduce.cut import Cut
from exporter.runtime.session import Array


@dataclass(frozen=True)
class Narrowed:
    """The same cut with fewer numbers.

    Attributes:
        values: What goes into the cut, its last constants sliced.
        expected: What should come out.
    """

    values: dict[ir.Value, Array]
    expected: Array


def narrow(
    cut: Cut, values: Mapping[ir.Value, Array], expected: Array, got: Array
) -> Narrowed | None:
    """Keep the output channel that is farthest off, where every constant behind it allows.

    A Conv's channels are its weight's first axis; those of Gemm, of MatMul and of an Add after
    either are the last of their constant. None where the cut ends otherwise.
    """
    nodes = list(cut.nodes)
    kept = dict(values)
    last = nodes[-1]
    axis = 1 if last.op_type == "Conv" else expected.ndim - 1
    if got.shape != expected.shape or axis >= expected.ndim:
        return None
    channel = _worst(got, expected, axis)
    while True:
        sliced = _slices(last, cut, values, expected.shape[axis])
        if sliced is None:
            return None
        for value, along in sliced.items():
            kept[value] = np.take(values[value], [channel], along)
        if last.op_type != "Add":
            break
        ahead = [v.producer() for v in last.inputs if v is not None and v not in sliced]
        if len(ahead) != 1 or ahead[0] not in nodes or len(ahead[0].outputs[0].uses()) != 1:
            return None
        last = ahead[0]
    return Narrowed(kept, np.take(expected, [channel], axis))


def _worst(got: Array, expected: Array, axis: int) -> int:
    with np.errstate(invalid="ignore", over="ignore"):
        off = np.abs(got.astype(np.float64) - expected)
    off[~np.isfinite(off)] = np.inf
    others = tuple(i for i in range(expected.ndim) if i != axis)
    return int(np.argmax(off.max(axis=others)))


def _slices(
    node: ir.Node, cut: Cut, values: Mapping[ir.Value, Array], channels: int
) -> dict[ir.Value, int] | None:
    """The constants of one node that have its channels, and along which axis."""
    axes = _axes(node)
    if axes is None:
        return None
    found: dict[ir.Value, int] = {}
    for index, axis in axes.items():
        value = node.inputs[index] if index < len(node.inputs) else None
        if value is None or value not in cut.frozen:
            continue
        shape = values[value].shape
        if len(shape) == 0 or shape[axis] != channels or len(value.uses()) != 1:
            return None
        found[value] = axis
    needed = 1 if node.op_type == "Add" else int(node.op_type in ("Conv", "MatMul", "Gemm"))
    return found if len(found) >= needed else None


def _axes(node: ir.Node) -> dict[int, int] | None:
    attributes = node.attributes
    if node.op_type == "Conv":
        grouped = "group" in attributes and attributes["group"].as_int() != 1
        return None if grouped else {1: 0, 2: 0}
    if node.op_type == "Gemm":
        turned = "transB" in attributes and attributes["transB"].as_int()
        return {1: 0 if turned else -1, 2: -1}
    return {"MatMul": {1: -1}, "Add": {0: -1, 1: -1}}.get(node.op_type)
