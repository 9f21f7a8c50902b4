from exporter.reading.flow import Flow
from exporter.reading.skips import find_skips

HEADER = """
g (float[B,4,H,W] sample, float[B,4,H,W] encoder_hidden_states) => (float[B,N,H,W] y)
<float[B,4,H,W] a, float[B,4,H,W] b, float[B,4,H,W] c, float[B,8,H,W] d, float[B,8,H,W] e,
 float[B,12,H,W] f> {
"""


def _skips(parse, body):
    flow = Flow(parse(HEADER + body + "}").graph, ["sample", "encoder_hidden_states"])
    found = [
        (skip.id, skip.value.name, skip.sink.outputs[0].name) for skip in find_skips(flow)
    ]
    for skip in find_skips(flow):
        assert skip.source is skip.value.producer()
    return found


def test_pairs_are_numbered_by_their_sources(parse):
    body = """
    a = Neg(sample)
    b = Exp(a)
    c = Abs(b)
    d = Concat <axis = 1> (c, b)
    e = Neg(d)
    y = Concat <axis = 1> (e, a)"""
    assert _skips(parse, body) == [(0, "a", "y"), (1, "b", "d")]


def test_one_value_may_be_taken_twice(parse):
    body = """
    a = Neg(sample)
    b = Exp(a)
    d = Concat <axis = -3> (b, a)
    y = Concat <axis = 1> (d, a)"""
    assert _skips(parse, body) == [(0, "a", "y"), (1, "a", "d")]


def test_independent_branches_are_none(parse):
    body = """
    a = Neg(sample)
    b = Exp(a)
    c = Abs(a)
    y = Concat <axis = 1> (b, c)"""
    assert _skips(parse, body) == []


def test_an_input_of_the_graph_is_none(parse):
    assert _skips(parse, "a = Neg(sample)\n y = Concat <axis = 1> (a, sample)") == []


def test_other_axes_and_other_data_are_none(parse):
    body = """
    a = Neg(sample)
    b = Exp(a)
    f = Concat <axis = 3> (b, a)
    c = Neg(encoder_hidden_states)
    y = Concat <axis = 1> (b, c)"""
    assert _skips(parse, body) == []
