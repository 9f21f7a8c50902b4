"""Twenty rewrites that change nothing but rounding: a check that refuses them is no use."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from tests.exporter.parity.edits import Edit, change_graph_input, find, swap
from tests.exporter.parity.fault_set import (
    BLOCK,
    CROSS,
    F32,
    GN,
    I64,
    LN,
    RESNET,
    SELF,
    SPATIAL,
    UP,
    gathered,
    like,
    on,
    on_input,
    on_output,
    reverse,
    scaled,
    set_to,
)


def _reassociate(model: ir.Model) -> None:
    """``(x + a) + b`` becomes ``x + (a + b)``."""
    inner = find(model, BLOCK, "Add")
    outer = next(user for user in inner.outputs[0].consumers() if user.op_type == "Add")
    first, x = inner.inputs
    index = list(outer.inputs).index(inner.outputs[0])
    sums = ir.node("Add", [first, outer.inputs[1 - index]], name="sum_of_branches")
    sums.outputs[0].name = "sum_of_branches"
    outer.replace_input_with(index, x)
    outer.replace_input_with(1 - index, sums.outputs[0])
    assert outer.graph is not None
    outer.graph.insert_before(outer, sums)


def _bias_after(node: ir.Node) -> None:
    """A convolution without its bias, which is added to what it returns."""
    bias = node.inputs[2]
    node.replace_input_with(2, None)
    shape = np.array([1, -1, 1, 1], I64)
    on_output(lambda op, x: op("Add", x, op("Reshape", bias, shape)))(node)


def _spelled_swish(node: ir.Node) -> None:
    x = node.inputs[0]
    on_output(lambda op, _: op("Mul", x, op("Sigmoid", x)))(node)


def _spelled_gelu(node: ir.Node) -> None:
    x = node.inputs[0]

    def build(op: Any, _: ir.Value) -> ir.Value:
        half = op("Mul", x, like(op, 0.5, x))
        erf = op("Erf", op("Mul", x, like(op, 0.5**0.5, x)))
        made: ir.Value = op("Mul", half, op("Add", erf, like(op, 1.0, x)))
        return made

    on_output(build)(node)


def _beta_after(node: ir.Node) -> None:
    beta = node.inputs[2]
    on_input(2, scaled(0.0))(node)
    on_output(lambda op, x: op("Add", x, beta))(node)


def _scale_on_query(node: ir.Node) -> None:
    set_to("scale", 1.0)(node)
    on_input(0, scaled(8**-0.5))(node)


def _twice(kind: str, **attributes: Any) -> Any:
    return lambda op, x: op(kind, op(kind, x, **attributes), **attributes)


BENIGN: dict[str, Edit] = {
    "a sum reassociated": _reassociate,
    "a sum commuted": on(BLOCK, "Add", lambda node: swap(node, 0, 1)),
    "a convolution's bias added after it": on(f"{RESNET}.conv1", "Conv", _bias_after),
    "Swish spelled out": on("conv_act", "Swish", _spelled_swish),
    "Gelu spelled out": on(f"{BLOCK}.ff.net.0", "Gelu", _spelled_gelu),
    "a layer norm's bias added after it": on(f"{BLOCK}.norm1", LN, _beta_after),
    "the attention's scale stated": on(CROSS, "Attention", set_to("scale", 8**-0.5)),
    "the attention's scale on the query": on(SELF, "Attention", _scale_on_query),
    "an identity": on("conv_in", "Conv", on_output(lambda op, x: op("Identity", x))),
    "transposed there and back": on(
        SPATIAL, "Reshape", on_output(_twice("Transpose", perm=[0, 2, 1]))
    ),
    "negated twice": on(f"{RESNET}.conv2", "Conv", on_output(_twice("Neg"))),
    "flipped twice": on(
        "conv_norm_out",
        GN,
        on_output(lambda op, x: reverse(3)(op, reverse(3)(op, x))),
    ),
    "times one": on("conv_out", "Conv", on_output(scaled(1.0))),
    "plus zero": on(UP, "Concat", on_output(lambda op, x: op("Add", x, like(op, 0.0, x)))),
    "gathered in order": on(UP, "Concat", on_input(1, gathered(1, list(range(32)))), 1),
    "doubled and halved": on(
        f"{SELF}.to_q", "MatMul", on_output(lambda op, x: scaled(0.5)(op, scaled(2.0)(op, x)))
    ),
    "in double and back": on(
        "time_proj",
        "Concat",
        on_output(lambda op, x: op("CastLike", op("Cast", x, to=ir.DataType.DOUBLE), x)),
    ),
    "flattened and shaped again": on(
        f"{RESNET}.norm2",
        GN,
        on_output(
            lambda op, x: op("Reshape", op("Reshape", x, np.array([-1], I64)), op("Shape", x))
        ),
    ),
    "a timestep clipped far outside": lambda model: change_graph_input(
        model, "timestep", lambda op, x: op("Min", x, np.array([5000], F32))
    ),
    "unsqueezed and squeezed": on(
        f"{BLOCK}.ff.net.2",
        "Add",
        on_output(
            lambda op, x: op("Squeeze", op("Unsqueeze", x, np.array([0], I64)), np.array([0]))
        ),
    ),
}
