"""SiLU as one node where the opset has it."""

from __future__ import annotations

import onnx_ir as ir

from exporter.values import sole_user


class Swish(ir.passes.InPlacePass):
    """``x * Sigmoid(x)`` -> ``Swish(x)`` from opset 24 on."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:  # noqa: D102
        if (model.opset_imports.get("") or 0) < 24:
            return ir.passes.PassResult(model, modified=False)
        pairs = [
            (node, user)
            for node in model.graph
            if node.op_type == "Sigmoid" and (user := sole_user(node.outputs[0])) is not None
            if user.op_type == "Mul" and node.inputs[0] in user.inputs
        ]
        for sigmoid, mul in pairs:
            _replace(model.graph, sigmoid, mul)
        return ir.passes.PassResult(model, modified=bool(pairs))


def _replace(graph: ir.Graph, sigmoid: ir.Node, mul: ir.Node) -> None:
    old = mul.outputs[0]
    new = ir.node(
        "Swish", [sigmoid.inputs[0]], name=mul.name, metadata_props=mul.metadata_props
    )
    ir.convenience.replace_nodes_and_values(
        graph, mul, [sigmoid, mul], [new], [old], new.outputs
    )
