from __future__ import annotations

import onnx
import pytest

from tests.viewer.tiny import build
from viewer.errors import LocationError
from viewer.model.atlas import read
from viewer.model.compare import compare, weights
from viewer.model.moved import moved


@pytest.fixture
def changed(tmp_path):
    """One activation replaced, and one resnet replaced by nothing."""
    path = build(tmp_path / "changed.onnx")
    model = onnx.load(path, load_external_data=False)
    for function in model.functions:
        if function.domain == "unet.mid_block.resnets.0":
            function.node[0].op_type = "Tanh"
        if function.domain == "unet.down_blocks.1":
            node = function.node[0]
            node.op_type, node.domain = "Identity", ""
            del node.input[1:]
    path.write_bytes(model.SerializeToString())
    return read(path)


def test_equal_files_differ_in_nothing(atlas, tmp_path):
    found = compare(atlas, read(build(tmp_path / "again.onnx")))
    assert found["nodes"] == {}
    assert found["operators"] == found["config"] == {}
    assert found["same"] == len(atlas.tree.nodes)


def test_what_differs_is_named(atlas, changed):
    found = compare(atlas, changed)
    assert found["nodes"]["mid_block/resnets.0/nonlinearity"] == {
        "status": "changed",
        "facts": {"op": ["Sigmoid", "Tanh"]},
    }
    assert found["nodes"]["down_blocks.1/resnets.0"]["facts"]["op"] == ["Resnet", "Identity"]
    assert found["nodes"]["down_blocks.1/resnets.0/conv1"] == {"status": "only_a"}
    assert found["operators"]["Tanh"] == [0, 1]
    assert compare(changed, atlas)["nodes"]["down_blocks.1/resnets.0/conv1"] == {
        "status": "only_b"
    }


def test_weights_are_compared_by_digest(atlas, tmp_path):
    same = read(build(tmp_path / "same.onnx"))
    found = weights(atlas, same)
    assert (found["different"], found["unreadable"]) == ([], [])
    assert found["equal"] > 30
    data = tmp_path / "same.data"
    content = bytearray(data.read_bytes())
    target = same.tree.by_path["conv_in"].weights[0]
    content[target.offset] ^= 1
    data.write_bytes(content)
    assert weights(atlas, same)["different"] == ["conv_in"]


def test_a_file_that_is_too_short_is_said(atlas, tmp_path):
    short = read(build(tmp_path / "short.onnx"))
    (tmp_path / "short.data").write_bytes(b"")
    with pytest.raises(LocationError, match="ends before"):
        moved((short, short), (short.tree.by_path["conv_in"].weights[0],) * 2)
    found = weights(atlas, short)
    assert found["equal"] == 0
    assert "ends before" in found["unreadable"][0][1]
