"""Reshape targets that static channel counts decide: constants instead of arithmetic."""

from __future__ import annotations

import onnx_ir as ir

from exporter.values import constant_ints, dims, int64_constant


class StaticReshape(ir.passes.InPlacePass):
    """Writes each Reshape's target as a constant where the named shapes allow it.

    A dimension equal to the input's at the same index becomes 0 (copy), a static one itself,
    and one more may be -1. ``[B,H,W,320] -> [B,HW,320]`` is ``[0,-1,320]`` for every size, so
    the Shape, Mul and Concat nodes that PyTorch's ``view(b, h * w, c)`` traces to fall away.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:  # noqa: D102
        modified = False
        for node in model.graph:
            if node.op_type != "Reshape" or constant_ints(node.inputs[1]) is not None:
                continue
            target = _target(dims(node.inputs[0]), dims(node.outputs[0]))
            if target is None:
                continue
            node.replace_input_with(1, int64_constant(model.graph, target))
            node.attributes.pop("allowzero", None)
            modified = True
        return ir.passes.PassResult(model, modified)


def _target(
    source: tuple[int | str, ...] | None, result: tuple[int | str, ...] | None
) -> list[int] | None:
    if source is None or result is None or 0 in result:
        return None
    target = [
        dim if isinstance(dim, int) else 0 if source[i : i + 1] == (dim,) else -1
        for i, dim in enumerate(result)
    ]
    return target if target.count(-1) <= 1 else None
