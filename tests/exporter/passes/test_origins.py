import pytest

from exporter.passes.origins import Origins

CLASSES = {
    "": "UNet",
    "down": "Down",
    "down.a": "Resnet",
    "down.b": "Resnet",
    "down.a.act": "SiLU",
}


@pytest.fixture
def settle(parse):
    """``settle(body, *modules)`` -> modules of the nodes after the pass; None: unknown."""

    def settle(body, *modules, inputs="float[B,8] x, float[B,8] z"):
        model = parse(f"g ({inputs}) => (float[B,8] y) {{ {body} }}")
        for node, module in zip(model.graph, modules, strict=True):
            if module is not None:
                node.metadata_props.update(
                    {
                        "atlas.module": module,
                        "atlas.class": CLASSES[module],
                        "atlas.source": f"diffusers/{module or 'unet'}.py:1",
                    }
                )
        Origins(CLASSES)(model)
        for node in model.graph:
            props = node.metadata_props
            assert set(props) == {"atlas.module", "atlas.class", "atlas.source"}
            assert props["atlas.class"] == CLASSES[props["atlas.module"]]
        return [node.metadata_props["atlas.module"] for node in model.graph]

    return settle


def test_a_stray_joins_its_user(settle):
    body = "a = Neg(x)\n b = Abs(a)\n y = Neg(b)"
    assert settle(body, "down.a", None, "down.b")[1] == "down.b"


def test_a_chain_of_strays_joins_the_first_known_user(settle):
    body = "a = Neg(x)\n b = Abs(a)\n y = Neg(b)"
    assert settle(body, None, None, "down.b") == ["down.b"] * 3


def test_a_last_stray_joins_its_producer(settle):
    assert settle("a = Neg(x)\n y = Abs(a)", "down.a", None) == ["down.a"] * 2


def test_a_shape_belongs_to_its_reader(settle):
    body = "a = Neg(x)\n s = Shape(a)\n y = Expand(z, s)"
    assert settle(body, "down.a", "down.a", "down.b") == ["down.a", "down.b", "down.b"]


def test_a_shape_that_the_unet_itself_reads_too_is_its_own(settle):
    body = "s = Shape(x)\n a = Expand(z, s)\n b = Expand(a, s)\n y = Neg(b)"
    assert settle(body, "down.a", "down.a", "", "")[0] == ""
    assert settle(body, "down.a", "", "down.a", "")[0] == ""


def test_what_siblings_share_moves_to_their_parent(settle):
    body = "t = Abs(x)\n act = Neg(t)\n a = Add(z, act)\n y = Add(a, act)"
    modules = settle(body, "", "down.a.act", "down.a", "down.b")
    assert modules == ["", "down", "down.a", "down.b"]


def test_what_reads_its_own_module_stays(settle):
    body = "t = Abs(z)\n act = Neg(t)\n a = Add(z, act)\n y = Add(a, act)"
    modules = settle(body, "down.a", "down.a.act", "down.a", "down.b")
    assert modules == ["down.a", "down.a.act", "down.a", "down.b"]


def test_what_has_parameters_stays(settle):
    body = "t = Abs(x)\n act = Mul(t, z)\n a = Add(t, act)\n y = Add(a, act)"
    modules = settle(body, "", "down.a.act", "down.a", "down.b")
    assert modules == ["", "down.a.act", "down.a", "down.b"]
