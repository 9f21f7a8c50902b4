"""Operators of ONNX Runtime's own, each in a graph of a few nodes."""

import numpy as np
import onnx_ir as ir
import pytest

from exporter.passes.ort.attention import MultiHeadAttention
from exporter.passes.ort.group_norm import GroupNorm
from exporter.passes.ort.instance_norm import InstanceNorm
from exporter.passes.ort.quick_gelu import QuickGelu
from exporter.passes.ort.split_gelu import BiasSplitGelu
from tests.exporter.contrib import spelled_out
from tests.exporter.passes.running import random_feeds, run

NORM = "GroupNormalization <num_groups = 2, epsilon = 0.001> (x, w, b)"


@pytest.fixture
def fuse(parse):
    """``fuse(step, text)``: the model after ``step``, which computes what it did before."""

    def fuse(step, text: str, *, modified: bool = True) -> ir.Model:
        model = parse(text)
        for node in model.graph:
            node.metadata_props["atlas.module"] = "m"
        before, model.opset_imports["com.microsoft"] = ir.to_proto(model), 1
        result = step(model)
        assert result.modified is modified
        assert all(node.metadata_props["atlas.module"] == "m" for node in model.graph)
        spelled = ir.to_proto(spelled_out(result.model.clone()))
        spelled.opset_import[0].version = 24
        feeds = random_feeds(before)
        for old, new in zip(run(before, feeds), run(spelled, feeds), strict=True):
            np.testing.assert_allclose(new, old, rtol=1e-5, atol=1e-5)
        return result.model

    return fuse


def _attention(attributes: str, rest: str = "") -> str:
    return f"""g (float[B,HW,8] q, float[B,S,8] k, float[B,S,8] v, float[HW,S] mask)
        => (float[B,HW,8] y) {{ y = Attention <{attributes}> (q, k, v{rest}) }}"""


@pytest.mark.parametrize("scale", ["", ", scale = 0.25"])
def test_attention_of_many_heads(fuse, op_types, scale):
    model = fuse(MultiHeadAttention(), _attention(f"q_num_heads = 2, kv_num_heads = 2{scale}"))
    assert op_types(model) == ["MultiHeadAttention"]
    assert model.graph[0].attributes["num_heads"].as_int() == 2


@pytest.mark.parametrize(
    ("attributes", "rest"),
    [
        ("q_num_heads = 2, kv_num_heads = 2", ", mask"),
        ("q_num_heads = 2, kv_num_heads = 2, softcap = 2.0", ""),
    ],
)
def test_another_attention_stays(fuse, op_types, attributes, rest):
    model = fuse(MultiHeadAttention(), _attention(attributes, rest), modified=False)
    assert op_types(model) == ["Attention"]


@pytest.mark.parametrize("kind", ["float", "float16"])
def test_group_norm_holds_its_silu(fuse, op_types, kind):
    text = f"""g ({kind}[B,8,H,W] x, {kind}[8] w, {kind}[8] b) => ({kind}[B,8,H,W] y)
        {{ n = {NORM}\n y = Swish (n) }}"""
    casts = [] if kind == "float" else ["Cast", "Cast"]
    if kind == "float":
        model = fuse(GroupNorm(), text)
    else:  # no half kernels to compare with
        model = GroupNorm()(ir.from_onnx_text(_HEAD + text)).model
    assert op_types(model) == ["Transpose", *casts, "GroupNorm", "Transpose"]
    norm = next(node for node in model.graph if node.op_type == "GroupNorm")
    assert norm.attributes["activation"].as_int() == 1
    assert norm.attributes["groups"].as_int() == 2
    assert [value.dtype for value in norm.inputs[1:]] == [ir.DataType.FLOAT] * 2


_HEAD = '<ir_version: 10, opset_import: ["" : 24]> '


def test_silu_that_is_not_alone_stays_outside(fuse, op_types):
    text = f"""g (float[B,8,H,W] x, float[8] w, float[8] b) => (float[B,8,H,W] y)
        {{ n = {NORM}\n s = Swish (n)\n y = Add (n, s) }}"""
    model = fuse(GroupNorm(), text)
    assert op_types(model) == ["Transpose", "GroupNorm", "Transpose", "Swish", "Add"]


@pytest.mark.parametrize("shape", ["B,6,H,W", "B,8,L"])
def test_groups_without_a_kernel_stay(fuse, shape):
    channels = shape[2]
    text = f"""g (float[{shape}] x, float[{channels}] w, float[{channels}] b)
        => (float[{shape}] y) {{ y = {NORM} }}"""
    fuse(GroupNorm(), text, modified=False)


@pytest.mark.parametrize("shape", ["B,6,H,W", "B,6,L"])
def test_group_norm_by_instance_norm(fuse, op_types, shape):
    text = f"""g (float[{shape}] x, float[6] w, float[6] b) => (float[{shape}] y)
        {{ y = {NORM} }}"""
    model = fuse(InstanceNorm(), text)
    assert "InstanceNormalization" in op_types(model)
    assert "GroupNormalization" not in op_types(model)


def test_silu_by_quick_gelu(fuse, op_types):
    text = "g (float[B,8] x) => (float[B,8] y) { y = Swish (x) }"
    assert op_types(fuse(QuickGelu(), text)) == ["QuickGelu"]


def _gate(width: int, approximate: str = "none") -> str:
    half = width // 2
    return f"""g (float[B,S,{width}] x, float[{width}] b) => (float[B,S,{half}] y)
        <float[B,S,{width}] m, float[B,S,{half}] l, float[B,S,{half}] r> {{
        m = Add (x, b)
        l, r = Split <axis = -1, num_outputs = 2> (m)
        e = Gelu <approximate = "{approximate}"> (r)
        y = Mul (l, e) }}"""


def test_gate_of_a_feed_forward(fuse, op_types):
    assert op_types(fuse(BiasSplitGelu(), _gate(2560))) == ["BiasSplitGelu"]


@pytest.mark.parametrize("text", [_gate(16), _gate(2560, "tanh")])
def test_a_gate_without_a_kernel_stays(fuse, text):
    fuse(BiasSplitGelu(), text, modified=False)
