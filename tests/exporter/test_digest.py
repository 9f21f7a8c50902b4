"""A verdict is tied to its file: two implementations of docs/FORMAT.md, held to each other."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from exporter.digest import digests
from tests.viewer.tiny import build, sign
from viewer import load
from viewer.model.digest import graph_digest, weights_digest
from viewer.model.file import read

Edit = Callable[[onnx.ModelProto], object]


def everything() -> onnx.ModelProto:
    """A model with one of each thing that a row is written of."""
    tensor, info, node = helper.make_tensor, helper.make_tensor_value_info, helper.make_node
    typed = [
        tensor("f", TensorProto.FLOAT, [2], [0.5, -1e-7]),
        tensor("h", TensorProto.FLOAT16, [1], [3.0]),
        tensor("i", TensorProto.INT64, [2], [-1, 2**40]),
        tensor("d", TensorProto.DOUBLE, [1], [0.1]),
        tensor("u", TensorProto.UINT64, [1], [2**63]),
        tensor("s", TensorProto.STRING, [2], [b"a", b"\xff"]),
        tensor("raw", TensorProto.FLOAT, [3], np.arange(3, dtype="<f4").tobytes(), raw=True),
        tensor("large", TensorProto.FLOAT, [2000], bytes(8000), raw=True),
        tensor("large_typed", TensorProto.FLOAT, [2000], [0.25] * 2000),
    ]
    outside = tensor("w", TensorProto.FLOAT, [1], bytes(4), raw=True)
    outside.ClearField("raw_data")
    outside.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "w.safetensors", "offset": "64", "length": "4"}.items():
        outside.external_data.add(key=key, value=value)
    branch = helper.make_graph([node("Neg", ["x"], ["o"])], "b", [], [info("o", 1, None)])
    default = helper.make_attribute("slope", 0.25)
    inner = node("LeakyRelu", ["a"], ["b"])
    inner.attribute.add(name="alpha", type=1, ref_attr_name="slope")
    function = helper.make_function(
        "f", "F", ["a"], ["b"], [inner], [helper.make_opsetid("", 21)], ["must"], [default]
    )
    nodes = [
        node("Add", ["x", "f"], ["y"]),
        node("F", ["y"], ["z"], domain="f", must=1),
        node("If", ["z"], ["q"], then_branch=branch, else_branch=branch),
        node(
            "Any", ["q"], ["out"], axis=1, axes=[0, 2], e=1e-5, es=[0.1, 2.0], t="ß", ts=["a"]
        ),
        node("Constant", [], ["c"], value=tensor("v", TensorProto.INT64, [], [7])),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [info("x", TensorProto.FLOAT, ["B", 4, None]), info("n", TensorProto.INT64, None)],
        [info("out", TensorProto.FLOAT, [])],
        [*typed, outside],
    )
    model = helper.make_model(
        graph,
        functions=[function],
        opset_imports=[helper.make_opsetid("f", 1), helper.make_opsetid("", 21)],
    )
    helper.set_model_props(model, {"atlas.model": "ü", "atlas.legend": "volatile"})
    return model


def replaced(text: str, by: str) -> Edit:
    """An edit of whatever holds a text, as JSON would spell the model."""

    def edit(model: onnx.ModelProto) -> None:
        found = str(model)
        assert text in found
        from google.protobuf import text_format

        model.Clear()
        text_format.Parse(found.replace(text, by, 1), model)

    return edit


CHANGES: dict[str, Edit] = {
    "operator": replaced('op_type: "Add"', 'op_type: "Sub"'),
    "domain": replaced('op_type: "Any"', 'op_type: "Any" domain: "other"'),
    "overload": replaced('op_type: "Any"', 'op_type: "Any" overload: "2"'),
    "a node's input": replaced('input: "f"', 'input: "h"'),
    "a node's output": replaced('output: "y"', 'output: "yy"'),
    "order": lambda m: m.graph.node.reverse(),
    "a node less": lambda m: m.graph.node.pop(),
    "an int": replaced("ints: 2", "ints: 3"),
    "a float": lambda m: setattr(m.graph.node[3].attribute[2], "f", 2e-5),
    "a text": lambda m: setattr(m.graph.node[3].attribute[4], "s", b"x"),
    "an attribute's name": replaced('name: "axis"', 'name: "axi"'),
    "an attribute's type": lambda m: setattr(m.graph.node[3].attribute[0], "type", 1),
    "a reference": replaced('ref_attr_name: "slope"', 'ref_attr_name: "must"'),
    "a branch": lambda m: setattr(m.graph.node[2].attribute[0].g.node[0], "op_type", "Abs"),
    "a constant": lambda m: m.graph.node[4].attribute[0].t.int64_data.__setitem__(0, 8),
    "a typed value": lambda m: m.graph.initializer[0].float_data.__setitem__(1, 1e-7),
    "a raw value": lambda m: setattr(m.graph.initializer[6], "raw_data", bytes(12)),
    "a large value": lambda m: setattr(m.graph.initializer[7], "raw_data", b"\1" * 8000),
    "dims": lambda m: m.graph.initializer[7].dims.__setitem__(0, 1000),
    "a tensor's type": lambda m: setattr(m.graph.initializer[7], "data_type", 6),
    "external offset": replaced('value: "64"', 'value: "68"'),
    "external place": replaced('value: "w.safetensors"', 'value: "v.safetensors"'),
    "input's name": replaced('dim_param: "B"', 'dim_param: "A"'),
    "input's size": replaced("dim_value: 4", "dim_value: 3"),
    "input's type": lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 10),
    "output": lambda m: m.graph.output[0].type.tensor_type.shape.dim.add(dim_value=1),
    "opset": replaced("version: 21", "version: 20"),
    "a function's default": lambda m: setattr(m.functions[0].attribute_proto[0], "f", 0.5),
    "a function's body": replaced('op_type: "LeakyRelu"', 'op_type: "Elu"'),
    "a function's attribute": replaced('attribute: "must"', 'attribute: "may"'),
    "what it is of": lambda m: setattr(m.metadata_props[0], "value", "other"),
}
VOLATILE: dict[str, Edit] = {
    "metadata": lambda m: m.metadata_props.add(key="atlas.parity", value="{}"),
    "a node's metadata": lambda m: m.graph.node[0].metadata_props.add(key="k", value="v"),
    "a node's name": lambda m: setattr(m.graph.node[0], "name", "x"),
    "documentation": lambda m: setattr(m.graph, "doc_string", "words"),
    "producer": lambda m: setattr(m, "producer_name", "someone"),
    "value_info": lambda m: m.graph.value_info.add(name="y"),
    "order of initializers": lambda m: m.graph.initializer.sort(key=lambda t: t.name),
    "the default domain": lambda m: setattr(m.graph.node[0], "domain", "ai.onnx"),
}


@pytest.fixture
def file(tmp_path):
    (tmp_path / "w.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}" + bytes(100))
    (tmp_path / "v.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}" + bytes(100))
    path = tmp_path / "unet.onnx"
    path.write_bytes(everything().SerializeToString())
    return path


def both(path: Path) -> str:
    """The graph's digest, on which both implementations must agree."""
    ours, shown = digests(path), read(path)
    assert ours["graph"] == graph_digest(shown)
    for location, digest in ours["weights"].items():
        assert digest == weights_digest(shown, location)
    return str(ours["graph"])


def test_both_know_a_whole_model_alike(file, tmp_path):
    both(file)
    assert set(digests(file)["weights"]) == {"w.safetensors"}
    build(tmp_path / "tiny.onnx")
    both(tmp_path / "tiny.onnx")


def test_sparse_tensors_too(file):
    """onnx_ir, and so the viewer, cannot read them yet."""
    sparse = helper.make_sparse_tensor(
        helper.make_tensor("sparse", TensorProto.FLOAT, [1], [2.0]),
        helper.make_tensor("at", TensorProto.INT64, [1], [1]),
        [3],
    )
    model, found = everything(), set()
    model.graph.node.append(helper.make_node("Constant", [], ["k"], sparse_value=sparse))
    model.graph.sparse_initializer.append(sparse)
    for size in (3, 4):
        model.graph.sparse_initializer[0].dims[0] = size
        file.write_bytes(content := model.SerializeToString())
        seen = SimpleNamespace(path=file.with_name("other"), content=content)
        found.add(digests(file)["graph"])
        assert graph_digest(seen) in found
    assert len(found) == 2


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_decides_the_result_is_seen(change, file):
    before, model = both(file), everything()
    CHANGES[change](model)
    file.write_bytes(model.SerializeToString())
    assert both(file) != before


@pytest.mark.parametrize("change", VOLATILE)
def test_what_decides_nothing_is_not(change, file):
    before, model = both(file), everything()
    VOLATILE[change](model)
    file.write_bytes(model.SerializeToString())
    assert both(file) == before


def test_the_format_is_as_described(tmp_path):
    """Rows written out by hand, so that both cannot be wrong together."""
    import hashlib

    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Elu", ["x"], ["y"], alpha=1.0)],
        "g",
        [info("x", TensorProto.FLOAT, ["B", 4])],
        [info("y", TensorProto.FLOAT, None)],
        [helper.make_tensor("w", TensorProto.INT64, [1], [7])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)])
    path = tmp_path / "x.onnx"
    path.write_bytes(model.SerializeToString())
    data = hashlib.sha256(b"\7" + bytes(7)).hexdigest()
    rows = (
        '["opset","",22]\n["graph"]\n["input","x",1,["B",4]]\n["output","y",1,null]\n'
        f'["tensor","w",7,[1],"{data}"]\n["node","","Elu","",["x"],["y"]]\n'
        '["attribute","alpha",1,"","0000803f"]\n'
    )
    assert both(path) == f"sha256:{hashlib.sha256(rows.encode()).hexdigest()}"


def signed(path: Path) -> None:
    model = onnx.load(path, "protobuf", load_external_data=False)
    model.metadata_props.add(key="atlas.parity", value='{"verdict": "passed"}')
    path.write_bytes(model.SerializeToString())
    sign(path)


def test_proven_only_as_long_as_nothing_is_changed(file):
    signed(file)
    assert load(file).standing.text == "proven"
    weights = file.with_name("w.safetensors")
    for content, said in (
        (weights.read_bytes() + b"\0", "the weights were changed since"),
        (weights.read_bytes().replace(b"{}", b"[]"), "the weights were changed since"),
        (None, "its weights are not here"),
    ):
        weights.unlink()
        if content is not None:
            weights.write_bytes(content)
        assert load(file).standing.text == f"claimed, and {said}"


def test_every_add_made_a_sub_is_seen_by_every_output(file):
    from viewer.outputs.model_explorer import write as write_collection
    from viewer.serve.offline import page
    from viewer.serve.shown import Shown

    signed(file)
    model = onnx.load(file, "protobuf", load_external_data=False)
    for node in model.graph.node:
        node.op_type = "Sub" if node.op_type == "Add" else node.op_type
    file.write_bytes(model.SerializeToString())
    atlas = load(file)
    claim = "claimed, and the graph was changed since"
    assert f"That parity passed is {claim}." in atlas.missing
    assert f'"text": "{claim}"' in page(Shown((atlas,))).replace('":"', '": "')
    write_collection(atlas, file.with_suffix(".json"))
    assert claim in file.with_suffix(".json").read_text()


@pytest.mark.parametrize("digest", [None, 3, {}, {"graph": 1}, {"graph": "x", "weights": []}])
def test_a_verdict_without_a_digest_is_a_claim(digest, file):
    model = everything()
    said = {"verdict": "passed"} | ({} if digest is None else {"digest": digest})
    model.metadata_props.add(key="atlas.parity", value=json.dumps(said))
    file.write_bytes(model.SerializeToString())
    assert load(file).standing.word == "claimed"


@pytest.mark.parametrize("verdict", ["skipped", "failed", "not provable"])
def test_other_verdicts_claim_nothing(verdict, file):
    model = everything()
    model.metadata_props.add(key="atlas.parity", value=json.dumps({"verdict": verdict}))
    file.write_bytes(model.SerializeToString())
    assert load(file).standing.text == verdict


def test_a_report_stands_for_the_file_it_is_of(file):
    from viewer.serve.shown import Shown

    parity = {"verdict": "passed", "digest": digests(file)}
    assert Shown((load(file),), {"parity": parity}).standing.proven
    model = everything()
    CHANGES["operator"](model)
    file.write_bytes(model.SerializeToString())
    shown = Shown((load(file),), {"parity": parity})
    assert shown.about()["standing"]["text"] == "claimed, and the graph was changed since"
