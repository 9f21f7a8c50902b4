import pytest

from exporter.passes.name_dims import NameDims

AXES = {"s10": "B", "s20": "H", "s3": "W", "s5": "S"}
HALF = "(({} - 1)//2) + 1"


@pytest.mark.parametrize(
    ("torch_name", "name"),
    [
        ("s10", "B"),
        ("s5", "S"),
        ("s20", "H"),
        (HALF.format("s20"), "H/2"),
        ("((s3 + 1)//2)", "W/2"),
        (f"((({HALF.format('s20')}) - 1)//2) + 1", "H/4"),
        ("s20*s3", "HW"),
        (f"({HALF.format('s20')})*({HALF.format('s3')})", "HW/4"),
        ("s10*2", "2*B"),
    ],
)
def test_expressions_become_what_they_evaluate_to(parse, torch_name, name):
    model = parse(
        f'g (float["{torch_name}",4] x) => (float["{torch_name}",4] y) {{ y = Neg(x) }}'
    )
    assert NameDims(AXES, ceil=True)(model).modified
    expected = "B*2" if name == "2*B" else name
    assert str(model.graph.inputs[0].shape) == f"[{expected},4]"
    assert str(model.graph.outputs[0].shape) == f"[{expected},4]"


def test_what_never_varies_is_a_number(parse):
    model = parse('g (float["s20 - s20 + 7"] x) => (float["s20 - s20 + 7"] y) { y = Neg(x) }')
    NameDims(AXES, ceil=True)(model)
    assert list(model.graph.inputs[0].shape) == [7]


def test_even_sizes_halve_without_rounding(parse):
    model = parse('g (float["(s20//2)"] x) => (float["(s20//2)"] y) { y = Neg(x) }')
    NameDims(AXES, ceil=False)(model)
    assert str(model.graph.inputs[0].shape) == "[H/2]"


def test_what_is_no_size_of_a_unet_keeps_its_expression(parse):
    model = parse('g (float["3*s20 + s3"] x) => (float["3*s20 + s3"] y) { y = Neg(x) }')
    NameDims(AXES, ceil=True)(model)
    assert str(model.graph.inputs[0].shape) == "[3*H+W]"


def test_short_names_are_left_alone(parse):
    model = parse("g (float[B,4] x) => (float[B,4] y) { y = Neg(x) }")
    assert not NameDims(AXES, ceil=True)(model).modified


def test_a_symbol_that_begins_another():
    naming = NameDims({"s3": "W", "s30": "H"}, ceil=True)
    assert naming.name("s30") == "H"
