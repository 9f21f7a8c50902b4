"""``GroupNormalization`` as ONNX Runtime's channels-last ``GroupNorm``, its SiLU inside."""

from __future__ import annotations

import onnx_ir as ir

from exporter.passes.ort.contrib import DOMAIN, permuted, replace, successor
from exporter.values import sole_user

NHWC, NCHW = [0, 2, 3, 1], [0, 3, 1, 2]
_CHANNELS_PER_THREAD = 2
"""The CUDA kernel reads channels in pairs; a group must not end within one."""


class GroupNorm(ir.passes.InPlacePass):
    """``GroupNormalization`` (``Swish``) -> ``Transpose GroupNorm Transpose``.

    ONNX Runtime's kernel exists on CUDA only, takes (B, H, W, C) and float32 scale and bias.
    Its own ``FusionGroupNorm`` looks for InstanceNormalization between Reshapes, copies scale
    and bias by value, and calls fp16 ones float32; so the node is translated here, and a Cast
    that is folded when the file is loaded makes them float32.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:  # noqa: D102
        found = [node for node in model.graph if _has_kernel(node)]
        for node in found:
            _translate(model.graph, node)
        return ir.passes.PassResult(model, modified=bool(found))


def _has_kernel(node: ir.Node) -> bool:
    if node.op_type != "GroupNormalization" or node.inputs[0] is None:
        return False
    shape = node.inputs[0].shape
    if shape is None or len(shape) != 4 or not isinstance(shape[1], int):
        return False
    return shape[1] // node.attributes["num_groups"].as_int() % _CHANNELS_PER_THREAD == 0


def _translate(graph: ir.Graph, node: ir.Node) -> None:
    x, scale, bias = node.inputs
    assert x is not None
    user = sole_user(node.outputs[0])
    silu = user if user is not None and user.op_type == "Swish" else None
    old = [node, silu] if silu is not None else [node]
    turned = successor(node, "Transpose", [x], {"perm": NHWC}, shape=permuted(x, NHWC))
    casts = [_float32(node, value) for value in (scale, bias)]
    norm = successor(
        node,
        "GroupNorm",
        [turned.outputs[0], *(made.outputs[0] if made else value for made, value in casts)],
        {
            "groups": node.attributes["num_groups"].as_int(),
            "epsilon": _epsilon(node),
            "activation": int(silu is not None),
        },
        domain=DOMAIN,
        shape=turned.outputs[0].shape,
    )
    back = successor(old[-1], "Transpose", norm.outputs, {"perm": NCHW}, shape=x.shape)
    replace(graph, old, [turned, *(made for made, _ in casts if made), norm, back])


def _float32(node: ir.Node, value: ir.Value | None) -> tuple[ir.Node | None, ir.Value | None]:
    if value is None or value.dtype == ir.DataType.FLOAT:
        return None, value
    to, kind = {"to": int(ir.DataType.FLOAT)}, ir.DataType.FLOAT
    return successor(node, "Cast", [value], to, shape=value.shape, dtype=kind), value


def _epsilon(node: ir.Node) -> float:
    given = node.attributes.get("epsilon")
    return given.as_float() if given else 1e-5
