"""``GroupNormalization`` in the form that ONNX Runtime's CPU provider has a kernel for."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from exporter.passes.ort.contrib import replace, successor
from exporter.values import int64_constant


class InstanceNorm(ir.passes.InPlacePass):
    """``GroupNormalization`` -> ``Reshape InstanceNormalization Reshape Mul Add``.

    Neither ``GroupNormalization`` nor ``GroupNorm`` has a CPU kernel; ONNX Runtime expands the
    former into a dozen elementwise nodes. Normalising (B, G, C/G*H*W) over its last axis is
    the same, with one kernel that does it.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:  # noqa: D102
        found = [node for node in model.graph if _is_known(node)]
        for node in found:
            _translate(model.graph, node)
        return ir.passes.PassResult(model, modified=bool(found))


def _is_known(node: ir.Node) -> bool:
    if node.op_type != "GroupNormalization" or node.outputs[0].dtype is None:
        return False
    x = node.inputs[0]
    return x is not None and x.shape is not None


def _translate(graph: ir.Graph, node: ir.Node) -> None:
    x, scale, bias = node.inputs
    assert x is not None
    assert x.shape is not None
    groups = node.attributes["num_groups"].as_int()
    given = node.attributes.get("epsilon")
    kind = node.outputs[0].dtype
    assert kind is not None
    ones, zeros = (_filled(graph, groups, fill, kind) for fill in (1, 0))
    shape = ir.Shape([x.shape[0], groups, None])
    grouped = int64_constant(graph, [0, groups, -1])
    flat = successor(node, "Reshape", [x, grouped], shape=shape)
    norm = successor(
        node,
        "InstanceNormalization",
        [flat.outputs[0], ones, zeros],
        {"epsilon": given.as_float() if given else 1e-5},
        shape=shape,
    )
    rank = len(x.shape)
    size = successor(node, "Shape", [x], shape=ir.Shape([rank]), dtype=ir.DataType.INT64)
    back = successor(node, "Reshape", [norm.outputs[0], size.outputs[0]], shape=x.shape)
    axes = int64_constant(graph, range(1, rank - 1))
    wide_shape = ir.Shape([x.shape[1], *[1] * (rank - 2)])
    wide = [
        successor(node, "Unsqueeze", [value, axes], shape=wide_shape)
        for value in (scale, bias)
    ]
    scaled = successor(node, "Mul", [back.outputs[0], wide[0].outputs[0]], shape=x.shape)
    moved = successor(node, "Add", [scaled.outputs[0], wide[1].outputs[0]], shape=x.shape)
    replace(graph, [node], [flat, norm, size, back, *wide, scaled, moved])


def _filled(graph: ir.Graph, count: int, fill: int, kind: ir.DataType) -> ir.Value:
    name = f"{'ones' if fill else 'zeros'}_{count}_{kind.name.lower()}"
    if name not in graph.initializers:
        tensor = ir.tensor(np.full(count, fill, dtype=kind.numpy()), name=name)
        graph.register_initializer(
            ir.Value(
                name=name,
                shape=ir.Shape([count]),
                type=ir.TensorType(kind),
                const_value=tensor,
            )
        )
    return graph.initializers[name]
