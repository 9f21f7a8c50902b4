import onnx_ir as ir
import pytest

from exporter.passes.optimizers import OnnxscriptOptimizer, Onnxsim

PROPS = {"atlas.module": "mid", "atlas.class": "Mid", "atlas.source": "diffusers/mid.py:1"}


def _annotated(model: ir.Model) -> ir.Model:
    for node in model.graph:
        node.metadata_props.update(PROPS)
    return model


TWICE = """
g (float[B,L,8] x) => (float[B,L,8] y)
<float[B,8,L] a, float[B,L,8] b, float[B,L,8] c> {
    a = Transpose <perm = [0, 2, 1]> (x)
    b = Transpose <perm = [0, 2, 1]> (a)
    c = Neg(b)
    y = Sigmoid(c)
}"""


@pytest.mark.parametrize("opset", [20, 23, 24])
def test_onnxsim_keeps_metadata_and_shapes(parse, rewrite, op_types, opset):
    model = rewrite(Onnxsim(), _annotated(parse(TWICE, opset)))
    assert op_types(model) == ["Neg", "Sigmoid"]
    assert all(node.metadata_props == PROPS for node in model.graph)
    assert str(model.graph[0].outputs[0].shape) == "[B,L,8]"


def test_onnxsim_is_believed_only_where_it_helps(parse, rewrite, op_types):
    once = TWICE.replace("b = Transpose <perm = [0, 2, 1]> (a)", "b = Exp(x)")
    once = once.replace("c = Neg(b)", "d = Transpose <perm = [0, 2, 1]> (a)\n c = Add(b, d)")
    helped = rewrite(Onnxsim(), _annotated(parse(once)))
    model = rewrite(Onnxsim(), helped, modified=False)
    assert op_types(model) == op_types(helped)
    assert all(node.metadata_props == PROPS for node in model.graph)


def test_onnxsim_leaves_the_bias_of_a_3d_product_alone(parse, rewrite, op_types):
    text = """
g (float[B,L,8] x, float[8,4] w, float[4] b) => (float[B,L,4] y) <float[B,L,4] p> {
    p = MatMul(x, w)
    y = Add(p, b)
}"""
    assert op_types(rewrite(Onnxsim(), parse(text), modified=False)) == ["MatMul", "Add"]


def test_onnxscript_folds_and_shares(parse, rewrite, op_types):
    text = """
g (float[B,8] x) => (float[B,8] y) <float[1] two = {2}, float[1] three = {3}> {
    k = Mul(two, three)
    a = Mul(x, k)
    b = Mul(x, k)
    y = Add(a, b)
}"""
    assert op_types(rewrite(OnnxscriptOptimizer(), parse(text))) == ["Mul", "Add"]
