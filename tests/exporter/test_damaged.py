"""Damaged files given to the exporter's commands, and weights that are not there: one line."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from exporter.errors import UsageError
from exporter.parity.metrics import compare, measure_floor
from exporter.runtime.loading import load_graph
from exporter.runtime.session import open_session
from tests.viewer.test_damaged import REFUSED, SHOWN
from tests.viewer.tiny import build

COMMANDS = {
    "exporter.parity": ["odd.onnx", "--model", "tiny", "--quiet"],
    "exporter.profile": ["odd.onnx", "--quiet"],
    "exporter.sample": ["odd.onnx", "--sweep", "3", "--quiet"],
}
CHANGES = {name: change for name, (change, _) in REFUSED.items()} | {"names": SHOWN["names"]}


@pytest.mark.parametrize("change", CHANGES)
def test_it_is_refused_in_one_line_and_nothing_is_written(
    change, tmp_path, monkeypatch, capfd
):
    monkeypatch.chdir(tmp_path)
    path = build(tmp_path / "odd.onnx")
    path.write_bytes(CHANGES[change](path.read_bytes()))
    before = sorted(tmp_path.iterdir())
    for command, line in COMMANDS.items():
        assert import_module(f"{command}.cli").main(line) == 2, command
        error = capfd.readouterr().err
        assert error.startswith("error: ")
        assert error.count("\n") == 1
        assert len(error) < 500
        assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("cut short", "it ends too early"),
        ("JSON", "it is text"),
        ("textual protobuf", "it is text"),
        ("names", "names that are not UTF-8"),
        ("an unknown type", "99 is not a valid DataType"),
    ],
)
def test_the_cause_is_named(change, said, tmp_path):
    path = build(tmp_path / "odd.onnx")
    path.write_bytes(CHANGES[change](path.read_bytes()))
    with pytest.raises(UsageError, match=said):
        load_graph(path)


@pytest.mark.parametrize(
    ("content", "said"), [(None, "which is not there"), (bytes(7000), "is cut short")]
)
def test_absent_and_cut_weights(content, said, tmp_path, capfd):
    if content is not None:
        (tmp_path / "w.bin").write_bytes(content)
    with pytest.raises(UsageError, match=said):
        open_session(outside(tmp_path / "x.onnx"), "cpu")
    assert capfd.readouterr().err == ""


def outside(path: Path) -> Path:
    weight = helper.make_tensor("w", TensorProto.FLOAT, [2000], bytes(8000), raw=True)
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "w.bin", "offset": "0", "length": "8000"}.items():
        weight.external_data.add(key=key, value=value)
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2000]) for n in "ab"]
    node = helper.make_node("Add", ["a", "w"], ["b"])
    graph = helper.make_graph([node], "g", ends[:1], ends[1:], [weight])
    opset = [helper.make_opsetid("", 21)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)
    return path


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_what_is_not_finite_is_no_warning(value):
    """Warnings are errors here."""
    values = np.array([1.0, value], np.float32)
    assert compare(values, values).tolerance_use == np.inf
    assert measure_floor(values, values, values.astype(np.float64), 1e-7) is None
