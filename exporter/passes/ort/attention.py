"""``Attention`` of ONNX as ONNX Runtime's older ``MultiHeadAttention``."""

from __future__ import annotations

import onnx_ir as ir

from exporter.passes.ort.contrib import DOMAIN, replace, successor


class MultiHeadAttention(ir.passes.InPlacePass):
    """3-D ``Attention`` without a mask -> ``com.microsoft.MultiHeadAttention``.

    Both take (B, L, heads * d) operands and divide by sqrt(d) unless told a scale. ONNX
    Runtime's fused kernels (flash and memory-efficient attention) belong to this operator.
    Its own ``FusionAttentionUnet`` looks for MatMul, Softmax and the Reshapes around them,
    and for the values of the weights; our graph has one node there, so it is renamed here.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:  # noqa: D102
        found = [node for node in model.graph if _same_in_both(node)]
        for node in found:
            attributes = {"num_heads": node.attributes["q_num_heads"].as_int()}
            scale = node.attributes.get("scale")
            wanted = {**attributes, **({"scale": scale.as_float()} if scale else {})}
            new = successor(node, "MultiHeadAttention", node.inputs, wanted, domain=DOMAIN)
            replace(model.graph, [node], [new])
        return ir.passes.PassResult(model, modified=bool(found))


def _same_in_both(node: ir.Node) -> bool:
    if node.op_type != "Attention" or node.domain or len(node.outputs) > 1:
        return False
    q, kv = (node.attributes.get(f"{side}_num_heads") for side in ("q", "kv"))
    if len(node.inputs) != 3 or q is None or kv is None:
        return False
    known = {"q_num_heads", "kv_num_heads", "scale"}
    return set(node.attributes) <= known and q.as_int() == kv.as_int()
