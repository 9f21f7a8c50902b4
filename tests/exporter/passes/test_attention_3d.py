import pytest

from exporter.passes.attention_3d import Attention3D

SPLIT = """
    {o}4 = Reshape({o}, heads)
    {o}t = Transpose <perm = [0, 2, 1, 3]> ({o}4)
"""
TEXT = """
g (float[B,L,8] q, float[B,S,8] k, float[B,S,8] v) => (float[B,L,8] y)
<int64[4] heads = {{0, 0, 2, 4}}, int64[3] merge = {{0, 0, 8}},
 float[B,L,2,4] q4, float[B,S,2,4] k4, float[B,S,2,4] v4,
 float[B,2,L,4] qt, float[B,2,S,4] kt, float[B,2,S,4] vt,
 float[B,2,L,4] a, float[B,L,2,4] b> {{
    {split}
    a = Attention <scale = 0.7> (qt, kt, vt)
    b = Transpose <perm = [{perm}]> (a)
    y = Reshape(b, merge)
}}"""


def _attention(perm="0, 2, 1, 3", text=TEXT):
    return text.format(split="".join(SPLIT.format(o=o) for o in "qkv"), perm=perm)


@pytest.mark.parametrize("opset", [23, 24])
def test_heads_are_split_by_the_operator(parse, rewrite, op_types, opset):
    model = rewrite(Attention3D(), parse(_attention(), opset))
    assert op_types(model) == ["Attention"]
    (node,) = model.graph
    assert node.attributes["q_num_heads"].as_int() == 2
    assert node.attributes["kv_num_heads"].as_int() == 2
    assert node.attributes["scale"].as_float() == pytest.approx(0.7)
    assert [v.name for v in node.inputs] == ["q", "k", "v"]
    assert str(node.outputs[0].shape) == "[B,L,8]"


def test_a_mask_stays(parse, rewrite, op_types):
    masked = _attention().replace("float[B,S,8] v)", "float[B,S,8] v, float[B,1,L,S] mask)")
    masked = masked.replace("(qt, kt, vt)", "(qt, kt, vt, mask)")
    model = rewrite(Attention3D(), parse(masked))
    assert op_types(model) == ["Attention"]
    assert model.graph[0].inputs[3].name == "mask"


def test_heads_read_elsewhere_stay(parse, rewrite, op_types):
    shared = _attention().replace(
        "=> (float[B,L,8] y)", "=> (float[B,L,8] y, float[B,2,L,4] z)"
    )
    shared = shared.replace("b = Tr", "z = Neg(a)\n b = Tr")
    model = rewrite(Attention3D(), parse(shared), modified=False)
    assert op_types(model).count("Transpose") == 4


def test_another_order_of_heads_stays(parse, rewrite, op_types):
    other = _attention(perm="0, 2, 3, 1").replace("float[B,L,2,4] b", "float[B,L,4,2] b")
    assert "Transpose" in op_types(rewrite(Attention3D(), parse(other), modified=False))


def test_queries_that_come_split_stay(parse, rewrite):
    text = """
    g (float[B,2,L,4] q, float[B,2,S,4] k, float[B,2,S,4] v) => (float[B,L,8] y)
    <int64[3] merge = {0, 0, 8}, float[B,2,L,4] a, float[B,L,2,4] b> {
        a = Attention(q, k, v)
        b = Transpose <perm = [0, 2, 1, 3]> (a)
        y = Reshape(b, merge)
    }"""
    rewrite(Attention3D(), parse(text), modified=False)
