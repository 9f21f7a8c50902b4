"""The two general optimisers, as passes that keep our metadata."""

from __future__ import annotations

import onnx
import onnx_ir as ir
import onnxscript.optimizer
import onnxsim

from exporter.passes.origins import INHERITED


class OnnxscriptOptimizer(ir.passes.InPlacePass):
    """onnxscript's constant folding, common subexpressions and rewrite rules."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:  # noqa: D102
        before = model.graph.num_nodes()
        onnxscript.optimizer.optimize_ir(model)
        return ir.passes.PassResult(model, modified=model.graph.num_nodes() != before)


class Onnxsim(ir.passes.FunctionalPass):
    """onnxsim, taken only where it leaves fewer nodes.

    It sees a graph without weights, so it is quick and can copy none. It drops node metadata,
    which is put back by output name; nodes it made anew are placed by ``Origins``. Its fusion
    of MatMul and Add into Gemm is skipped: on 3-D operands it adds a Reshape on either side.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:  # noqa: D102
        before: onnx.ModelProto = ir.to_proto(model)
        after, _ = onnxsim.simplify(
            before, skipped_optimizers=["fuse_matmul_add_bias_into_gemm"]
        )
        if len(after.graph.node) >= len(before.graph.node):
            return ir.passes.PassResult(model.clone(), modified=False)
        simplified = ir.from_proto(after)
        known = {v.name: (v, node) for node in model.graph for v in node.outputs}
        for node in simplified.graph:
            for value in node.outputs:
                if value.name in known:
                    old, origin = known[value.name]
                    value.shape, value.type = old.shape, old.type
                    props = origin.metadata_props
                    node.metadata_props.update({k: props[k] for k in INHERITED if k in props})
        return ir.passes.PassResult(simplified, modified=True)
