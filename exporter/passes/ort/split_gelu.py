"""The gate of a GEGLU as ONNX Runtime's ``BiasSplitGelu``."""

from __future__ import annotations

import onnx_ir as ir

from exporter.passes.ort.contrib import DOMAIN, replace, successor
from exporter.values import dims, sole_user

WIDTHS = (2560, 5120, 10240)
"""Last dimensions that the CUDA kernel of every supported ONNX Runtime takes."""


class BiasSplitGelu(ir.passes.InPlacePass):
    """``Add(x, bias) Split Gelu Mul`` -> ``BiasSplitGelu(x, bias)``; CUDA only.

    diffusers' ``GEGLU``: the first half of the channels times the GELU of the second.
    ONNX Runtime's own ``FusionBiasSplitGelu`` looks for the two Slices and the arithmetic on
    ``Shape`` that TorchScript wrote for ``chunk``.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:  # noqa: D102
        found = [gate for node in model.graph if (gate := _gate(node)) is not None]
        for old in found:
            operands = old[0].inputs  # tokens and bias
            new = successor(old[-1], "BiasSplitGelu", operands, domain=DOMAIN)
            replace(model.graph, old, [new])
        return ir.passes.PassResult(model, modified=bool(found))


def _gate(split: ir.Node) -> list[ir.Node] | None:
    """``[Add, Split, Gelu, Mul]`` around a Split in two halves of the last axis."""
    if split.op_type != "Split" or len(split.outputs) != 2 or split.inputs[0] is None:
        return None
    left, right = split.outputs
    add, gelu, mul = split.inputs[0].producer(), sole_user(right), sole_user(left)
    if add is None or gelu is None or mul is None:
        return None
    if [n.op_type for n in (add, gelu, mul)] != ["Add", "Gelu", "Mul"]:
        return None
    if "approximate" in gelu.attributes and gelu.attributes["approximate"].value != "none":
        return None
    if sole_user(gelu.outputs[0]) is not mul or sole_user(add.outputs[0]) is not split:
        return None
    whole, half, bias = dims(split.inputs[0]), dims(left), dims(add.inputs[1])
    if whole is None or len(whole) != 3 or whole[2] not in WIDTHS or bias != whole[2:]:
        return None
    return [add, split, gelu, mul] if half == (*whole[:2], int(whole[2]) // 2) else None
