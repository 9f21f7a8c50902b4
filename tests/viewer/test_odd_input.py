"""Text that is almost a number, and files that are too deep, too large or oddly named."""

from __future__ import annotations

import itertools
import json

import onnx
import pytest
from onnx import TensorProto, helper

from tests.viewer import recorded
from tests.viewer.tiny import build
from viewer import cli, load
from viewer.model import expand
from viewer.model.names import Links, Names
from viewer.model.sizes import Nominal, size
from viewer.numbers import count, plain_json
from viewer.replay import cli as replay

ODD = ("²", "5" * 5000, "-1", "+1", "1_0", "٣", " 1", "1.0", "1e3", "", "one")


def info(name: str, shape: list[int | str] | None):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def save(path, nodes, functions=(), shape=(1, 4)):
    ends = [info("x", list(shape))], [info("y", list(shape))]
    graph = helper.make_graph(nodes, "g", *ends)
    opsets = [
        helper.make_opsetid("", 20),
        *(helper.make_opsetid(f.domain, 1) for f in functions),
    ]
    model = helper.make_model(graph, functions=list(functions), opset_imports=opsets)
    path.write_bytes(model.SerializeToString())
    return path


def chain(path, length: int):
    names = ["x", *(f"v{i}" for i in range(length - 1)), "y"]
    nodes = [helper.make_node("Relu", [a], [b]) for a, b in itertools.pairwise(names)]
    return save(path, nodes)


@pytest.mark.parametrize("text", ODD)
def test_what_is_almost_a_number_is_none(text):
    assert count(text) is None
    assert text == " 1" or Nominal().dim(f"H/{text}") is None
    assert count("640") == 640


def test_sizes_beyond_any_tensor_are_unknown():
    assert size([2**62, 2]) is None
    assert Nominal().dim("*".join(["9" * 18] * 8)) is None
    assert Nominal().dim("*".join(["H"] * 5000)) is None


@pytest.mark.parametrize("text", [*ODD, "9" * 17])
def test_metadata_of_almost_numbers_opens(tmp_path, text):
    path = build(tmp_path / "odd.onnx")
    model = onnx.load(path, load_external_data=False)
    numbers = {"atlas.level", "atlas.params", "atlas.heads", "atlas.head_dim", "atlas.skip"}
    for nodes in (model.graph.node, *(function.node for function in model.functions)):
        for entry in (entry for node in nodes for entry in node.metadata_props):
            if entry.key in numbers:
                entry.value = text
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = f"H/{text}"
    path.write_bytes(model.SerializeToString())
    json.dumps(load(path).to_json())
    assert cli.main([str(path), "--html", str(tmp_path / "odd.html")]) == 0


def test_functions_3000_deep_are_one_line(tmp_path, capsys):
    functions = []
    for depth in range(3000):
        node = helper.make_node(
            *(("F", ["a"], ["b"]) if depth < 2999 else ("Relu", ["a"], ["b"]))
        )
        node.domain = f"d{depth + 1}" if depth < 2999 else ""
        imports = [helper.make_opsetid("", 20), helper.make_opsetid(f"d{depth + 1}", 1)]
        made = helper.make_function(f"d{depth}", "F", ["a"], ["b"], [node], imports)
        functions.append(made)
    path = save(
        tmp_path / "deep.onnx", [helper.make_node("F", ["x"], ["y"], domain="d0")], functions
    )
    assert cli.main([str(path), "--html", str(tmp_path / "deep.html")]) == 2
    error = capsys.readouterr().err
    assert error == "error: functions are nested over 100 deep; expected a UNet's hierarchy\n"


@pytest.mark.parametrize("depth", [70, 900, 100_000])
def test_json_that_is_nested_too_deep(tmp_path, capsys, depth):
    deep = "[" * depth + "]" * depth
    with pytest.raises(ValueError, match="nested too deep"):
        plain_json(deep)
    assert plain_json('{"a": [1, {"b": null}]}') == {"a": [1, {"b": None}]}
    path = build(tmp_path / "deep.onnx")
    model = onnx.load(path, load_external_data=False)
    for entry in model.metadata_props:
        if entry.key in ("atlas.model.config", "atlas.weights", "atlas.parity"):
            entry.value = f'{{"a": {deep}}}'
    path.write_bytes(model.SerializeToString())
    assert cli.main([str(path), "--html", str(tmp_path / "deep.html")]) == 0
    report = tmp_path / "r.json"
    report.write_text(f'{{"a": {deep}}}')
    target = str(tmp_path / "other.html")
    assert cli.main([str(path), "--report", str(report), "--html", target]) == 2
    run = recorded.write(tmp_path / "run.safetensors", model=json.loads("[" * 70 + "]" * 70))
    assert replay.main([str(run), "--html", target]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("error: ") for line in lines)


def test_names_with_line_breaks_stay_in_their_line(tmp_path, capsys):
    path = build(tmp_path / "odd.onnx")
    model = onnx.load(path, load_external_data=False)
    model.metadata_props.add(key="atlas.model", value="a\nb\x1b[2J")
    model.graph.node[0].name = "c\nd"
    tensor = model.graph.initializer.add(name="e\nf", data_type=1, dims=[1], data_location=1)
    tensor.external_data.add(key="location", value="no\nwhere\r.bin")
    path.write_bytes(model.SerializeToString())
    assert cli.main([str(path), "--tensorboard", str(tmp_path / "runs")]) == 0
    printed = capsys.readouterr().out
    assert all(line.startswith(("wrote ", "odd.onnx: ")) for line in printed.splitlines())
    assert "\x1b" not in printed


def test_names_are_looked_for_once():
    class Counting(set):
        looked = 0

        def __contains__(self, name):
            Counting.looked += 1
            return super().__contains__(name)

    for names, last in ((Names(), "Add_2999"), (Links(""), "Add~3000")):
        Counting.looked, names.taken = 0, Counting(names.taken)
        made = [names.fresh("Add") for _ in range(3000)]
        assert made[-1] == last
        assert len(set(made)) == 3000
        assert Counting.looked < 7000


def test_a_graph_is_whole_whatever_calls_may_multiply(tmp_path, monkeypatch):
    monkeypatch.setattr(expand, "NODE_LIMIT", 10)
    atlas = load(chain(tmp_path / "chain.onnx", 40))
    assert len(atlas.tree.leaves) == 40
    assert not atlas.tree.truncated


def test_too_many_operators_are_refused_at_once(tmp_path, capsys):
    path = chain(tmp_path / "chain.onnx", 40)
    target = str(tmp_path / "x.html")
    assert cli.main([str(path), "--max-nodes", "39", "--html", target]) == 2
    error = capsys.readouterr().err
    assert "holds 40 operators; expected at most 39; raise --max-nodes" in error
    assert cli.main([str(path), "--max-nodes", "40", "--html", target]) == 0
