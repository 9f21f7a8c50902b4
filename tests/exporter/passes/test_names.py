import onnx_ir as ir

from exporter.passes.names import Names


def test_nodes_and_values_are_named_after_their_module(parse):
    model = parse("""
g (float[B,8] x) => (float[B,8] out_sample) {
    a = Neg(x)
    b, c = Split <num_outputs = 2> (a)
    d = Neg(b)
    e = Concat <axis = 1> (d, c)
    out_sample = Abs(e)
}""")
    for node, module in zip(model.graph, ["m", "m", "m", "m.n", ""], strict=True):
        node.metadata_props["atlas.module"] = module
    Names()(model)
    assert [n.name for n in model.graph] == [
        "m/Neg", "m/Split", "m/Neg_1", "m.n/Concat", "Abs",
    ]  # fmt: skip
    assert [v.name for n in model.graph for v in n.outputs] == [
        "m/Neg", "m/Split", "m/Split:1", "m/Neg_1", "m.n/Concat", "out_sample",
    ]  # fmt: skip
    ir.to_proto(model)


def test_names_are_unique_however_often_an_operator_occurs(parse):
    body = "\n".join(f"v{i + 1} = Neg(v{i})" for i in range(30))
    model = parse(f"g (float[B] v0) => (float[B] v30) {{ {body} }}")
    Names()(model)
    assert len({node.name for node in model.graph}) == 30
