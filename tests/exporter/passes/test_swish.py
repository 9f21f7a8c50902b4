import pytest

from exporter.passes.swish import Swish


@pytest.mark.parametrize("operands", ["x, s", "s, x"])
def test_silu_is_one_node(parse, rewrite, op_types, operands):
    text = f"g (float[B,8] x) => (float[B,8] y) {{ s = Sigmoid(x)\n y = Mul({operands}) }}"
    model = parse(text)
    list(model.graph)[1].metadata_props["atlas.module"] = "nonlinearity"
    rewritten = rewrite(Swish(), model)
    assert op_types(rewritten) == ["Swish"]
    assert rewritten.graph[0].metadata_props == {"atlas.module": "nonlinearity"}
    assert rewritten.graph.outputs[0].name == "y"


def test_opsets_without_it_keep_the_pair(parse, rewrite, op_types):
    text = "g (float[B,8] x) => (float[B,8] y) { s = Sigmoid(x)\n y = Mul(x, s) }"
    model = rewrite(Swish(), parse(text, opset=23), modified=False)
    assert op_types(model) == ["Sigmoid", "Mul"]


@pytest.mark.parametrize(
    "body",
    [
        "s = Sigmoid(x)\n t = Neg(x)\n y = Mul(t, s)",  # of something else
        "s = Sigmoid(x)\n y = Mul(s, s)",
        "s = Sigmoid(x)\n t = Mul(x, s)\n y = Add(t, s)",  # the gate is read elsewhere
        "s = Sigmoid(x)\n y = Add(x, s)",
    ],
)
def test_what_is_no_silu_stays(parse, rewrite, body):
    text = f"g (float[B,8] x) => (float[B,8] y) {{ {body} }}"
    rewrite(Swish(), parse(text), modified=False)
