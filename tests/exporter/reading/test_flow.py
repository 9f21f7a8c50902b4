import pytest

from exporter.reading.flow import Flow, resolution_step

TEXT = """
g (float[B,4,H,W] sample, float[T] timestep, float[B,S,8] encoder_hidden_states,
   float[4,4,3,3] kernel, float[4] w) => (float[B,4,H,W] y)
<float[B,4,h,v] half, float[B,4,H,W] up, int64[2] size, float[4] t> {
    half = Conv <strides = [2, 2], pads = [1, 1, 1, 1]> (sample, kernel)
    t = Mul(timestep, w)
    size = Shape <start = 2, end = 4> (sample)
    up = Resize <axes = [2, 3], mode = "nearest"> (half, "", "", size)
    y = Conv <strides = [1, 1], pads = [1, 1, 1, 1]> (up, kernel)
}"""


@pytest.fixture
def flow(parse):
    inputs = ["sample", "timestep", "encoder_hidden_states"]
    return Flow(parse(TEXT).graph, inputs)


@pytest.fixture
def node(flow):
    return {node.outputs[0].name: node for node in flow.nodes}


def test_sources_are_inputs_not_parameters(flow, node):
    assert flow.node_sources(node["half"]) == {"sample"}
    assert flow.node_sources(node["t"]) == {"timestep"}
    assert flow.sources(flow.graph.inputs[3]) == frozenset()
    assert flow.sources(None) == frozenset()


def test_sizes_are_not_data(flow, node):
    assert flow.node_sources(node["size"]) == frozenset()
    assert node["size"] not in flow.ancestors(node["y"].outputs[0])
    assert node["size"] not in flow.descendants(flow.graph.inputs[0])


def test_levels_follow_strides_and_resizes(flow, node):
    levels = {name: flow.level(one) for name, one in node.items()}
    assert levels == {"half": 1, "t": None, "size": None, "up": 0, "y": 0}
    assert [resolution_step(one) for one in flow.nodes] == [1, 0, 0, -1, 0]


def test_ancestors_and_descendants(flow, node):
    assert flow.ancestors(node["up"].outputs[0]) == {node["half"], node["up"]}
    assert flow.descendants(node["half"].outputs[0]) == {node["up"], node["y"]}


def test_users_are_in_order_and_once(flow, node):
    assert flow.users(node["half"]) == [node["up"]]
    assert flow.users(node["y"]) == []
