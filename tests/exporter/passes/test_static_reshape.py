import pytest

from exporter.passes.static_reshape import StaticReshape
from exporter.values import constant_ints

TEXT = """
g (float[{source}] x, float[{result}] like) => (float[{result}] y) <int64[{rank}] size> {{
    size = Shape(like)
    y = Reshape(x, size)
}}"""


@pytest.mark.parametrize(
    ("source", "result", "target"),
    [
        ("B,H,W,8", "B,HW,8", [0, -1, 8]),
        ("B,L,8", "B,L,2,4", [0, 0, 2, 4]),
        ("B,8,H,W", "B,2,4,H,W", [0, 2, 4, 0, 0]),
        ("B,L,2,4", "B,L,8", [0, 0, 8]),
        ("T", "T,1", [0, 1]),
    ],
)
def test_targets_that_names_decide(parse, rewrite, op_types, source, result, target):
    text = TEXT.format(source=source, result=result, rank=result.count(",") + 1)
    if target == [0, 2, 4, 0, 0]:  # H and W are two unknowns at new places
        model = rewrite(StaticReshape(), parse(text), modified=False)
        assert op_types(model) == ["Shape", "Reshape"]
        return
    model = rewrite(StaticReshape(), parse(text))
    assert op_types(model) == ["Reshape"]
    assert constant_ints(model.graph[0].inputs[1]) == target
    assert model.graph[0].inputs[1].is_initializer()


def test_constant_targets_are_left_alone(parse, rewrite):
    text = """
g (float[B,L,8] x) => (float[B,L,2,4] y) <int64[4] s = {0, 0, 2, 4}> { y = Reshape(x, s) }"""
    rewrite(StaticReshape(), parse(text), modified=False)


def test_equal_targets_are_shared(parse, rewrite):
    text = """
g (float[B,L,8] a, float[B,L,2,4] like) => (float[B,L,2,4] y, float[B,L,2,4] z) {
    s = Shape(like)
    y = Reshape(a, s)
    b = Neg(a)
    t = Shape(like)
    z = Reshape(b, t)
}"""
    assert len(rewrite(StaticReshape(), parse(text)).graph.initializers) == 1
