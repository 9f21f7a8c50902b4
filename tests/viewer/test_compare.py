from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
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


def numbers(atlas, weight):
    content = Path(atlas.file.path).with_suffix(".data").read_bytes()
    return np.frombuffer(content, "<f4", math.prod(weight.shape), weight.offset)


def test_how_far_weights_moved(atlas, tmp_path):
    other = read(build(tmp_path / "other.onnx", seed=1))
    found = {one["path"]: one for one in weights(atlas, other)["moved"]}
    a, b = (one.tree.by_path["conv_in"].weights[0] for one in (atlas, other))
    x, y = numbers(atlas, a), numbers(other, b)
    one = found["conv_in"]
    assert one["different"]
    assert one["norm"] == pytest.approx(np.linalg.norm(x.astype(float)))
    assert one["change"] == pytest.approx(np.linalg.norm(y.astype(float) - x))
    at = int(np.argmax(np.abs(y - x)))
    assert one["largest"] == (np.unravel_index(at, a.shape), x[at], y[at])


@pytest.mark.parametrize(
    ("dtype", "kind", "rounding"),
    [("FLOAT16", "<f2", 2**-11), ("BFLOAT16", "bf16", 2**-8), ("DOUBLE", "<f8", 1e-12)],
)
def test_checkpoints_of_two_types_are_compared(atlas, tmp_path, dtype, kind, rounding):
    other = read(build(tmp_path / "other.onnx"))
    a = atlas.tree.by_path["conv_in"].weights[0]
    x = numbers(atlas, a)
    bits = (x.view("<u4") >> 16).astype("<u2") if kind == "bf16" else x.astype(kind)
    (tmp_path / "other.data").write_bytes(bits.tobytes())
    b = replace(a, location="other.data", offset=0, dtype=dtype, length=bits.nbytes)
    found = moved((atlas, other), (a, b))
    assert not found.equal
    assert found.change <= rounding * found.norm
    if kind != "<f8":
        assert found.change > 0


def test_what_is_not_finite_has_no_distance(atlas, tmp_path):
    other = read(build(tmp_path / "other.onnx"))
    weight = other.tree.by_path["conv_in"].weights[0]
    data = tmp_path / "other.data"
    content = bytearray(data.read_bytes())
    content[weight.offset : weight.offset + 4] = np.float32("nan").tobytes()
    data.write_bytes(content)
    found = moved((atlas, other), (atlas.tree.by_path["conv_in"].weights[0], weight))
    assert (found.equal, found.change, found.largest) == (False, None, None)


def test_a_small_constant_that_differs_is_shown_by_its_value(atlas, tmp_path):
    path = build(tmp_path / "changed.onnx")
    model = onnx.load(path, load_external_data=False)
    function = next(f for f in model.functions if f.domain == "unet.time_embedding")
    constant = next(node for node in function.node if node.op_type == "Constant")
    constant.attribute[0].t.CopyFrom(onnx.helper.make_tensor("axes", 7, [2], [1, 0]))
    path.write_bytes(model.SerializeToString())
    (found,) = compare(atlas, read(path))["nodes"].values()
    (values,) = found["facts"].values()
    assert [list(one.values()) for one in values] == [[[0, 1]], [[1, 0]]]
