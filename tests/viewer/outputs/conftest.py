from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from tests.viewer.outputs.hostile import HOSTILE
from viewer.model.atlas import Atlas, read


@pytest.fixture(scope="session")
def stripped(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    """The tiny UNet without a word of ours: functions and shapes only."""
    model = onnx.load(tiny, load_external_data=False)
    del model.metadata_props[:]
    for nodes in (model.graph.node, *(function.node for function in model.functions)):
        for node in nodes:
            del node.metadata_props[:]
    path = tmp_path_factory.mktemp("stripped") / "stripped.onnx"
    onnx.save(model, path)
    return read(path)


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    """Three operators whose names and metadata try to become markup or code."""
    info = helper.make_tensor_value_info
    nodes = [
        helper.make_node("Relu", [HOSTILE], ["a"], name=f"/{HOSTILE}/Relu"),
        helper.make_node(HOSTILE, ["a"], ["b"], domain="x"),
        helper.make_node("Add", ["a", "b"], ["y"], name=HOSTILE),
    ]
    for node in nodes:
        helper.set_metadata_props(node, {"atlas.role": HOSTILE, "atlas.class": HOSTILE})
    graph = helper.make_graph(
        nodes,
        HOSTILE,
        [info(HOSTILE, TensorProto.FLOAT, [HOSTILE, 3])],
        [info("y", TensorProto.FLOAT, [HOSTILE, 3])],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("x", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    helper.set_model_props(model, {"atlas.model": HOSTILE})
    path = tmp_path_factory.mktemp("hostile") / "hostile.onnx"
    path.write_bytes(model.SerializeToString())
    return read(path)
