import pytest

from exporter.passes.slice_of_concat import SliceOfConcat

MAX = 2**63 - 1
TEXT = """
g (float[B,4] a, float[B,6] b) => (float[B,N] y)
<int64[1] start = {{ {start} }}, int64[1] end = {{ {end} }}, int64[1] axis = {{ {axis} }},
 float[B,10] c> {{
    c = Concat <axis = {concat}> (a, b)
    s = Slice(c, start, end, axis)
    y = Neg(s)
}}"""
SEAMS = [(0, 4, "a"), (4, 10, "b"), (4, MAX, "b"), (4, 11, "b")]


def _slice(start, end, axis=1, concat=1):
    return TEXT.format(start=start, end=end, axis=axis, concat=concat)


@pytest.mark.parametrize("concat", [1, -1])
@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize(("start", "end", "part"), SEAMS)
def test_at_the_seam_it_is_the_operand(parse, rewrite, start, end, part, axis, concat):
    model = rewrite(SliceOfConcat(), parse(_slice(start, end, axis, concat)))
    (node,) = model.graph
    assert node.inputs[0].name == part


@pytest.mark.parametrize(("start", "end"), [(0, 3), (1, 4), (2, MAX), (0, 10), (-6, MAX)])
def test_elsewhere_it_stays(parse, rewrite, start, end):
    rewrite(SliceOfConcat(), parse(_slice(start, end)), modified=False)


@pytest.mark.parametrize("end", [5, 9])
def test_part_of_the_last_operand_stays(parse, rewrite, end):
    rewrite(SliceOfConcat(), parse(_slice(4, end)), modified=False)
