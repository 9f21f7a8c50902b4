from __future__ import annotations

import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from viewer.errors import LocationError
from viewer.model.file import read
from viewer.model.weightless import LARGE, without_weights


def model_with(tensor, path):
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])], [tensor],
    )  # fmt: skip
    path.write_bytes(helper.make_model(graph).SerializeToString())
    return path


def external(location, path):
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return model_with(tensor, path)


def test_inline_weights_become_ranges_of_the_same_file(tmp_path):
    data = np.arange(LARGE, dtype=np.float32)
    path = model_with(numpy_helper.from_array(data, "w"), tmp_path / "m.onnx")
    content = without_weights(path)
    assert len(content) < 1000
    tensor = onnx.ModelProto.FromString(content).graph.initializer[0]
    place = {entry.key: entry.value for entry in tensor.external_data}
    assert place["location"] == "m.onnx"
    raw = path.read_bytes()[int(place["offset"]) :][: int(place["length"])]
    assert np.array_equal(np.frombuffer(raw, "<f4"), data)


def test_packed_floats_and_constants_in_functions_become_ranges(tmp_path):
    values = [float(n) for n in range(LARGE)]
    tensor = helper.make_tensor("t", TensorProto.FLOAT, [LARGE], values)
    nodes = [
        helper.make_node("Constant", [], ["w"], value=tensor),
        helper.make_node("Add", ["x", "w"], ["y"]),
    ]
    imports = [helper.make_opsetid("", 20)]
    function = helper.make_function("d", "F", ["x"], ["y"], nodes, imports)
    graph = helper.make_graph(
        [helper.make_node("F", ["x"], ["y"], domain="d")], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [LARGE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [LARGE])],
    )  # fmt: skip
    path = tmp_path / "f.onnx"
    path.write_bytes(helper.make_model(graph, functions=[function]).SerializeToString())
    file = read(path)
    assert len(file.content) < 1000
    assert list(file.locations) == ["f.onnx"]
    found = onnx.ModelProto.FromString(file.content).functions[0].node[0].attribute[0].t
    place = {entry.key: entry.value for entry in found.external_data}
    with file.open("f.onnx") as stream:
        stream.seek(int(place["offset"]))
        raw = stream.read(int(place["length"]))
    assert np.array_equal(np.frombuffer(raw, "<f4"), np.arange(LARGE, dtype="f4"))


def test_a_small_model_is_served_as_it_is(tiny):
    assert without_weights(tiny) == tiny.read_bytes()


@pytest.mark.parametrize(
    "location",
    [
        *("../secret", "a/../../secret", "/etc/passwd", "..\\secret", "C:\\secret"),
        *("\\\\host\\share", "", "nowhere.bin", ".", "folder", "a\0b"),
    ],
)
def test_hostile_locations_are_refused(tmp_path, location):
    (tmp_path / "secret").write_bytes(b"\0" * 16)
    folder = tmp_path / "model"
    (folder / "folder").mkdir(parents=True)
    file = read(external(location, folder / "m.onnx"))
    assert file.locations == {}
    with pytest.raises(LocationError):
        file.open(location)


def test_symbolic_links_are_refused_even_when_made_later(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"\0" * 16)
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "link").symlink_to(secret)
    assert "symbolic link" in read(external("link", folder / "m.onnx")).refused["link"]
    data = folder / "w.bin"
    data.write_bytes(b"\0" * 16)
    file = read(external("w.bin", folder / "n.onnx"))
    with file.open("w.bin") as stream:
        assert stream.read(1) == b"\0"
    data.unlink()
    data.symlink_to(secret)
    with pytest.raises(LocationError, match="symbolic link"):
        file.open("w.bin")


def test_a_linked_folder_is_refused(tmp_path):
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "w.bin").write_bytes(b"\0" * 16)
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "sub").symlink_to(tmp_path / "else")
    assert read(external("sub/w.bin", folder / "m.onnx")).locations == {}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    file = read(external("pipe", tmp_path / "m.onnx"))
    assert "not a regular file" in file.refused["pipe"]
