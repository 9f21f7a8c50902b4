"""Shapes of the values that fusing made, from those around them."""

from __future__ import annotations

import onnx_ir as ir

from exporter.passes.ort.contrib import permuted

_LIKE_FIRST_INPUT = frozenset({"GroupNorm", "SkipGroupNorm", "InstanceNormalization"})


class Shapes(ir.passes.InPlacePass):
    """Completes shapes and types behind Transposes and normalisations."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:  # noqa: D102
        before = _unknown(model)
        for node in model.graph:
            _complete(node)
        return ir.passes.PassResult(model, modified=_unknown(model) != before)


def _complete(node: ir.Node) -> None:
    x = node.inputs[0] if node.inputs else None
    if x is None or x.shape is None:
        return
    if node.op_type == "Transpose":
        _tell(node.outputs[0], permuted(x, node.attributes["perm"].as_ints()), x.type)
    elif node.op_type in _LIKE_FIRST_INPUT:
        for value in node.outputs:
            _tell(value, x.shape, x.type)


def _tell(value: ir.Value, shape: ir.Shape | None, kind: ir.TypeProtocol | None) -> None:
    value.shape = value.shape or shape
    value.type = value.type or kind


def _unknown(model: ir.Model) -> int:
    return sum(value.shape is None for node in model.graph for value in node.outputs)
