import pytest

from exporter.reading.attentions import find_attentions
from exporter.reading.flow import Flow

INPUTS = ["sample", "encoder_hidden_states"]
HEADER = """
g (float[B,L,8] sample, float[B,S,8] encoder_hidden_states, float[8,8] w) => (float[B,L,8] y)
<float[B,L,8] q, float[B,S,8] k, float[B,S,8] v, float[B,N,8] both> {
    q = MatMul(sample, w)
"""
SOURCES = {
    "self_attention": ("sample", "sample"),
    "cross_attention": ("encoder_hidden_states", "encoder_hidden_states"),
    "joint_attention": ("both", "both"),
}
JOIN = "both = Concat <axis = 1> (encoder_hidden_states, q)\n"


def _found(parse, text, opset=24):
    flow = Flow(parse(text, opset).graph, INPUTS)
    return flow, list(find_attentions(flow))


@pytest.mark.parametrize("role", SOURCES)
def test_roles_come_from_edges(parse, role):
    k, v = SOURCES[role]
    body = JOIN if role == "joint_attention" else ""
    body += f"k = MatMul({k}, w)\n v = MatMul({v}, w)\n"
    body += "y = Attention <q_num_heads = 2, kv_num_heads = 2> (q, k, v) }"
    flow, (found,) = _found(parse, HEADER + body)
    assert found.role(flow) == role
    assert (found.heads, found.head_dim) == (2, 4)
    assert [value.name for value in (found.q, found.k, found.v)] == ["q", "k", "v"]


@pytest.mark.parametrize("role", ["self_attention", "cross_attention"])
def test_what_older_opsets_spell_out(parse, role):
    k, v = SOURCES[role]
    text = f"""
g (float[B,L,8] sample, float[B,S,8] encoder_hidden_states, float[8,8] w)
=> (float[B,2,L,4] y)
<int64[4] heads = {{0, 0, 2, 4}}, float[1] scale = {{0.5}}, float[B,2,L,4] q> {{
    q4 = Reshape(sample, heads)
    q = Transpose <perm = [0, 2, 1, 3]> (q4)
    k4 = Reshape({k}, heads)
    k = Transpose <perm = [0, 2, 3, 1]> (k4)
    v4 = Reshape({v}, heads)
    v = Transpose <perm = [0, 2, 1, 3]> (v4)
    raw = MatMul(q, k)
    scaled = Mul(raw, scale)
    weights = Softmax <axis = -1> (scaled)
    y = MatMul(weights, v)
}}"""
    flow, (found,) = _found(parse, text, 20)
    assert found.anchor.op_type == "Softmax"
    assert found.role(flow) == role
    assert (found.heads, found.head_dim) == (2, 4)


def test_a_softmax_that_weighs_nothing_is_none(parse):
    body = "p = Softmax <axis = -1> (q)\n k = Neg(p)\n y = Add(k, q) }"
    _, found = _found(parse, HEADER + body)
    assert found == []


def test_a_softmax_of_no_image_is_none(parse):
    body = """
    k = MatMul(encoder_hidden_states, w)
    p = Softmax <axis = -1> (k)
    v = MatMul(p, w)
    y = Neg(q) }"""
    _, found = _found(parse, HEADER + body)
    assert found == []
