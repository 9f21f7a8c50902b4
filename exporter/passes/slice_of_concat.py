"""Slices that take a Concat apart again."""

from __future__ import annotations

import onnx_ir as ir

from exporter.values import constant_ints, dims


class SliceOfConcat(ir.passes.InPlacePass):
    """``Slice(Concat(a, b))`` at the seam -> ``a`` or ``b``.

    diffusers' ``get_timestep_embedding`` concatenates sin and cos, then swaps the halves when
    ``flip_sin_to_cos`` is set (diffusers/models/embeddings.py); with this it is one Concat.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:  # noqa: D102
        modified = False
        for node in list(model.graph):
            part = _operand(node) if node.op_type == "Slice" else None
            if part is not None:
                node.outputs[0].replace_all_uses_with(part, replace_graph_outputs=True)
                modified = True
        return ir.passes.PassResult(model, modified)


def _operand(node: ir.Node) -> ir.Value | None:
    data, bounds = node.inputs[0], _bounds(node)
    if data is None or bounds is None:
        return None
    start, end, axis = bounds
    if start == 0 and end >= 2**31:  # `x[:]`
        return data
    concat, shape = data.producer(), dims(data)
    if concat is None or concat.op_type != "Concat" or shape is None:
        return None
    if axis % len(shape) != concat.attributes["axis"].as_int() % len(shape):
        return None
    offset = 0
    for part in concat.inputs:
        size = (dims(part) or (None,) * len(shape))[axis]
        if not isinstance(size, int):
            return None
        last = part is concat.inputs[-1]
        if start == offset and (end == offset + size or (last and end > offset + size)):
            return part
        offset += size
    return None


def _bounds(node: ir.Node) -> tuple[int, int, int] | None:
    """Start, end and axis of a slice along one axis with step 1."""
    values = [constant_ints(value) for value in node.inputs[1:]]
    values += [[1]] * (4 - len(values))
    if any(value is None or len(value) != 1 for value in values):
        return None
    (start,), (end,), (axis,), (step,) = (value for value in values if value is not None)
    return (start, end, axis) if step == 1 and start >= 0 else None
