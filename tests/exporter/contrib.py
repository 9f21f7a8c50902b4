"""What ONNX Runtime's CUDA operators mean, spelled out in standard ones.

None of them has a CPU kernel. A graph of them runs here once each is a call of a function that
says the same (the operators' descriptions are in onnxruntime's ContribOperators.md).
"""

from __future__ import annotations

import onnx_ir as ir

CUDA_ONLY = {"GroupNorm", "SkipGroupNorm", "NhwcConv", "BiasSplitGelu", "BiasAdd"}

_NORM = "<num_groups: int = @groups, epsilon: float = @epsilon>"
_GROUP_NORM = f"""
    nchw = Transpose <perm = [0, 3, 1, 2]> (sum)
    scale = CastLike (gamma, sum)
    shift = CastLike (beta, sum)
    normal = GroupNormalization {_NORM} (nchw, scale, shift)
    plain = Transpose <perm = [0, 2, 3, 1]> (normal)"""
_ENDS = {
    "0": "y = Identity (plain)",
    "1": "gate = Sigmoid (plain)\n y = Mul (plain, gate)",
}
_CONV = "<" + ", ".join(
    f"{name}: {kind} = @{name}"
    for name, kind in {
        "kernel_shape": "ints", "pads": "ints", "strides": "ints", "dilations": "ints",
        "group": "int",
    }.items()
) + ">"  # fmt: skip

FUNCTIONS = {
    **{
        f"GroupNorm{active}": f"""<groups, epsilon> (x, gamma, beta) => (y) {{
            sum = Identity (x) {_GROUP_NORM} \n {end} }}"""
        for active, end in _ENDS.items()
    },
    **{
        f"SkipGroupNorm{active}": f"""<groups, epsilon> (x, gamma, beta, skip) => (y, sum) {{
            sum = Add (x, skip) {_GROUP_NORM} \n {end} }}"""
        for active, end in _ENDS.items()
    },
    "NhwcConv": f"""<kernel_shape, pads, strides, dilations, group> (x, w, b) => (y) {{
        nchw = Transpose <perm = [0, 3, 1, 2]> (x)
        kernel = Transpose <perm = [0, 3, 1, 2]> (w)
        made = Conv {_CONV} (nchw, kernel, b)
        y = Transpose <perm = [0, 2, 3, 1]> (made) }}""",
    "BiasSplitGelu": """(x, bias) => (y) {
        moved = Add (x, bias)
        left, right = Split <axis = -1, num_outputs = 2> (moved)
        gate = Gelu (right)
        y = Mul (left, gate) }""",
    "BiasAdd": """(x, bias, skip) => (y) {
        moved = Add (x, bias)
        y = Add (moved, skip) }""",
}


def spelled_out(model: ir.Model) -> ir.Model:
    """``model`` for any provider: operators that only CUDA has become calls. In place."""
    for node in model.graph:
        if node.domain == "com.microsoft" and node.op_type in CUDA_ONLY:
            if node.op_type == "SkipGroupNorm" and len(node.outputs) == 1:
                node.resize_outputs(2)  # a function's outputs are not optional
                node.outputs[1].name = f"{node.name}:sum"
            active = node.attributes.pop("activation", None)
            node.domain, node.op_type = (
                "meaning",
                node.op_type + (str(active.as_int()) if active else ""),
            )
    texts = [
        f'<domain: "meaning", opset_import: ["" : 21]> {name} {body}'
        for name, body in FUNCTIONS.items()
    ]
    head = '<ir_version: 10, opset_import: ["" : 21, "meaning" : 1]> '
    empty = "g (float[1] x) => (float[1] y) { y = Identity (x) } "
    functions = ir.from_onnx_text(head + empty + " ".join(texts)).functions
    model.functions.update(functions)
    model.opset_imports["meaning"] = 1
    model.opset_imports[""] = 21
    return model
