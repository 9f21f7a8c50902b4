"""SiLU as ONNX Runtime's ``QuickGelu``."""

from __future__ import annotations

import onnx_ir as ir

from exporter.passes.ort.contrib import DOMAIN, replace, successor


class QuickGelu(ir.passes.InPlacePass):
    """``Swish(x)`` -> ``QuickGelu(x)`` with alpha 1: x * sigmoid(x), one kernel everywhere.

    ONNX Runtime has no kernel for ``Swish`` and expands it after its own fusion of
    ``Sigmoid`` and ``Mul`` has run.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:  # noqa: D102
        found = [n for n in model.graph if n.op_type == "Swish" and not n.domain]
        for node in found:
            given = node.attributes.get("alpha")
            alpha = {"alpha": given.as_float() if given else 1.0}
            new = successor(node, "QuickGelu", node.inputs, alpha, domain=DOMAIN)
            replace(model.graph, [node], [new])
        return ir.passes.PassResult(model, modified=bool(found))
