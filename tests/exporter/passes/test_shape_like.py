from exporter.passes.shape_like import ShapeLike

TOKENS = """
g (float[B,8,H,W] residual, float[B,HW,8] tokens) => (float[B,8,H,W] y)
<float[B,H,W,8] grid, float[B,8,H,W] image, int64[4] size,
 int64[1] b, int64[1] h, int64[1] w, int64[1] c = {8}> {
    b = Shape <start = 0, end = 1> (residual)
    h = Shape <start = 2, end = 3> (residual)
    w = Shape <start = 3, end = 4> (residual)
    size = Concat <axis = 0> (b, h, w, c)
    grid = Reshape(tokens, size)
    image = Transpose <perm = [0, 3, 1, 2]> (grid)
    y = Add(image, residual)
}"""


def test_tokens_take_the_size_of_the_residual(parse, rewrite, op_types):
    model = rewrite(ShapeLike(), parse(TOKENS))
    assert op_types(model) == ["Transpose", "Shape", "Reshape", "Add"]
    assert model.graph[1].inputs[0].name == "residual"
    assert str(model.graph[2].outputs[0].shape) == "[B,8,H,W]"


def test_tokens_that_are_turned_already(parse, rewrite, op_types):
    turned = TOKENS.replace("float[B,HW,8] tokens", "float[B,8,HW] tokens")
    turned = turned.replace("float[B,H,W,8] grid, ", "").replace(
        "(b, h, w, c)", "(b, c, h, w)"
    )
    turned = turned.replace("grid = Resh", "image = Resh")
    turned = turned.replace("image = Transpose <perm = [0, 3, 1, 2]> (grid)", "")
    assert op_types(rewrite(ShapeLike(), parse(turned))) == ["Shape", "Reshape", "Add"]


def test_tokens_that_meet_nothing_of_their_size_stay(parse, rewrite, op_types):
    alone = TOKENS.replace("y = Add(image, residual)", "y = Neg(image)")
    assert "Concat" in op_types(rewrite(ShapeLike(), parse(alone), modified=False))


def test_a_tensor_made_later_lends_no_size(parse, rewrite, op_types):
    later = TOKENS.replace("y = Add(image, residual)", "z = Neg(image)\ny = Add(image, z)")
    assert "Concat" in op_types(rewrite(ShapeLike(), parse(later), modified=False))


RESIZE = """
g (float[B,4,H,W] skip, float[B,8,"H/2","W/2"] x, float[B,4,S,L] other) => (float[B,12,H,W] y)
<float[B,8,H,W] up, int64[4] size, int64[2] hw, int64[2] bc> {
    bc = Shape <start = 0, end = 2> (x)
    hw = Shape <start = 2, end = 4> (skip)
    size = Concat <axis = 0> (bc, hw)
    up = Resize <mode = "nearest", coordinate_transformation_mode = "asymmetric",
                 nearest_mode = "floor"> (x, , , size)
    z = Sigmoid(up)
    y = Concat <axis = 1> (z, skip)
}"""


def test_upsampling_takes_the_size_of_the_skip(parse, rewrite, op_types):
    model = rewrite(ShapeLike(), parse(RESIZE.replace('"H/2"', "S").replace('"W/2"', "L")))
    assert op_types(model) == ["Shape", "Resize", "Sigmoid", "Concat"]
    shape, resize = list(model.graph)[:2]
    assert shape.inputs[0].name == "skip"
    assert list(resize.attributes["axes"].as_ints()) == [2, 3]
    assert "".join(str(d) for d in resize.outputs[0].shape) == "B8HW"
