from __future__ import annotations

import json

import onnx
import pytest
from onnx import TensorProto, helper

from viewer.errors import ModelError
from viewer.model.atlas import read
from viewer.model.expand import NODE_LIMIT


def test_blocks_in_the_order_of_the_data(atlas):
    assert [block.kind for block in atlas.blocks] == [
        "time", "conv_in", "down", "down", "mid", "up", "up", "conv_out",
    ]  # fmt: skip
    down = atlas.blocks[2]
    assert (down.level, down.shape) == (0, ("B", 8, "H/2", "W/2"))  # what it hands on
    assert [b.shape for b in atlas.blocks[3:]] == [
        *[("B", 8, "H/2", "W/2")] * 2, *[("B", 8, "H", "W")] * 2, ("B", 4, "H", "W"),
    ]  # fmt: skip
    assert [part.role for part in down.parts] == ["resnet", "cross_attention", "downsample"]
    assert down.parts[1].attentions == ("self_attention", "cross_attention")
    assert down.parts[0].injects
    assert not down.parts[1].injects


def test_skips_join_a_source_and_a_sink(atlas):
    paths = {
        skip.id: (atlas.tree.nodes[skip.source].path, atlas.tree.nodes[skip.sink].path)
        for skip in atlas.skips
    }
    assert paths == {
        "0": ("conv_in", "up_blocks.1/Concat~2"),
        "1": ("down_blocks.0/attentions.0", "up_blocks.1/Concat"),
        "2": ("down_blocks.0/downsamplers.0", "up_blocks.0/Concat~2"),
        "3": ("down_blocks.1/resnets.0", "up_blocks.0/Concat"),
    }
    assert atlas.skips[2].shape == ("B", 8, "H/2", "W/2")
    assert atlas.tree.values[atlas.skips[1].value].flow == "skip"


def test_time_enters_every_resnet(atlas):
    assert len(atlas.injections) == 7
    first = atlas.injections[0]
    assert first.resnet == "down_blocks.0.resnets.0"
    assert (first.time, first.image) == (("B", 8, 1, 1), ("B", 8, "H", "W"))


def test_cross_attention_takes_its_keys_from_the_text(atlas):
    cross = [one for one in atlas.attentions if one.role == "cross_attention"]
    assert len(cross) == 2
    assert cross[0].operands == (("B", "HW", 8), ("B", "S", 8), ("B", "S", 8))
    assert cross[0].sources[1] == ("encoder_hidden_states",)
    assert (cross[0].heads, cross[0].head_dim) == (2, 4)
    assert atlas.tree.nodes[cross[0].call].path.endswith("transformer_blocks.0/attn2")


def test_one_value_across_a_call(atlas):
    """What a function is given is the very value that its caller passed."""
    call = atlas.tree.by_path["down_blocks.0/resnets.0"]
    first = atlas.tree.by_path["down_blocks.0/resnets.0/nonlinearity"]
    source = atlas.tree.by_path["conv_in"]
    assert call.inputs[0] == first.inputs[0] == source.outputs[0]
    assert atlas.tree.values[source.outputs[0]].name == "skip_0"


def test_flops_of_a_convolution_at_the_nominal_size(atlas):
    # 16 x 16 places, 8 outputs of 4 inputs x 3 x 3, a multiply-add is two.
    assert atlas.tree.by_path["conv_in"].flops == 16 * 16 * 8 * 4 * 9 * 2
    attention = atlas.tree.by_path[
        "down_blocks.0/attentions.0/transformer_blocks.0/attn2/Attention"
    ]
    assert attention.flops == 4 * (16 * 16) * 77 * 8
    assert atlas.flops == sum(leaf.flops for leaf in atlas.tree.leaves)


def test_parameters_add_up(atlas):
    written = json.loads(atlas.metadata["atlas.weights"])["parameters"]
    assert atlas.params == written
    assert sum(leaf.params for leaf in atlas.tree.leaves) == written


def test_steps_of_the_legend(atlas):
    counts = {role: len(nodes) for role, nodes in atlas.parts.items()}
    assert counts["cross_attention"] == 2
    assert counts["time_injection"] == 7
    assert counts["skip"] == 4
    assert counts["resnet"] == 7


def test_nothing_is_missing_from_an_annotated_file(atlas):
    assert atlas.missing == ()


def test_weights_are_never_read(atlas, tiny, tmp_path):
    lonely = tmp_path / "lonely.onnx"
    lonely.write_bytes(tiny.read_bytes())
    found = read(lonely)
    assert found.params == atlas.params
    assert found.missing == (
        "That parity passed is claimed, and its weights are not here.",
        "external data at 'tiny.data' is missing",
    )


def test_payload_is_plain_json(atlas):
    data = json.loads(json.dumps(atlas.to_json()))
    assert data["nodes"][0]["path"] == "time_embedding"
    assert data["values"][data["inputs"][0]][0] == "sample"


NAMES = (
    "/down_blocks.0/resnets.0/conv1/Conv",
    "/down_blocks.0/resnets.0/act/Relu",
    "/up_blocks.0/resnets.0/act/Relu",
    "/up_blocks.0/Neg",
)


def foreign(path, names=NAMES):
    """A flat file by someone else: no metadata, TorchScript's names, weights inside."""
    weight = helper.make_tensor("w", TensorProto.FLOAT, [8, 4, 3, 3], [0.5] * 288)
    image = ["batch", 4, "height", "width"]
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["sample", "w"], ["h"], name=names[0], pads=[1] * 4),
            helper.make_node("Relu", ["h"], ["a"], name=names[1]),
            helper.make_node("Relu", ["a"], ["b"], name=names[2]),
            helper.make_node("Neg", ["b"], ["out"], name=names[3]),
        ],
        "g",
        [helper.make_tensor_value_info("sample", TensorProto.FLOAT, image)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


def test_a_foreign_file_is_grouped_by_names_and_its_gaps_are_said(tmp_path):
    atlas = read(foreign(tmp_path / "other.onnx"))
    assert atlas.tree.by_path["down_blocks.0/resnets.0"].kind == "group"
    assert [block.kind for block in atlas.blocks] == ["down", "up"]
    conv = atlas.tree.by_path["down_blocks.0/resnets.0/conv1"]
    assert atlas.tree.values[conv.outputs[0]].shape[:2] == ("batch", 8)
    assert conv.flops is None  # ONNX's inference leaves the height and width unnamed
    said = " ".join(atlas.missing)
    for word in (
        "atlas.format",
        "atlas.role",
        "atlas.side",
        "atlas.skip",
        "functions",
        "inferred",
    ):
        assert word in said


def test_torch_scopes_group_a_file(tmp_path):
    path = foreign(tmp_path / "other.onnx", names="abcd")
    model = onnx.load(path)
    for node, leaf in zip(model.graph.node, ("conv", "conv", "act", "act"), strict=True):
        scopes = f"['', 'mid_block', 'mid_block.{leaf}', 'node']"
        node.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=scopes)
    path.write_bytes(model.SerializeToString())
    assert "mid_block/conv/Conv" in read(path).tree.by_path


def test_functions_that_multiply_are_cut_off(tmp_path):
    """Twenty functions that each call the next twice would be a million calls."""
    functions = []
    for depth in range(20):
        domain, after = f"d{depth}", f"d{depth + 1}"
        inner = "Identity" if depth == 19 else "F"
        nodes = [
            helper.make_node(inner, ["x"], ["a"], domain="" if depth == 19 else after),
            helper.make_node(inner, ["a"], ["y"], domain="" if depth == 19 else after),
        ]
        imports = [helper.make_opsetid("", 20), helper.make_opsetid(after, 1)]
        functions.append(helper.make_function(domain, "F", ["x"], ["y"], nodes, imports))
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("F", ["x"], ["y"], domain="d0")], "g",
        [value("x", TensorProto.FLOAT, [1])], [value("y", TensorProto.FLOAT, [1])],
    )  # fmt: skip
    model = helper.make_model(graph, functions=functions)
    path = tmp_path / "bomb.onnx"
    path.write_bytes(model.SerializeToString())
    atlas = read(path)
    assert len(atlas.tree.nodes) <= NODE_LIMIT + 40
    assert any("too large" in sentence for sentence in atlas.missing)


@pytest.mark.parametrize(
    "content", [b"", b"not a model", b"\x08\x0a", b"\x3a\xff\xff\xff\xff\x0f", b"\x00" * 9000]
)
def test_what_is_not_a_model_is_said_in_one_line(tmp_path, content):
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(ModelError, match="cannot be opened"):
        read(tmp_path / "none.onnx")
