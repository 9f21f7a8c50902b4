from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx_ir.passes.common import RemoveUnusedNodesPass

Parse = Callable[..., ir.Model]
Rewrite = Callable[..., ir.Model]

SIZES = {"B": 2, "H": 5, "W": 3, "HW": 15, "S": 4, "L": 6, "T": 1, "H/2": 3, "W/2": 2}


@pytest.fixture
def parse() -> Parse:
    """``parse(text, opset=24)``: ONNX text without its header to a model."""

    def parse(text: str, opset: int = 24) -> ir.Model:
        header = f'<ir_version: 10, opset_import: ["" : {opset}]>'
        return ir.from_onnx_text(header + text)

    return parse


@pytest.fixture
def rewrite() -> Rewrite:
    """``rewrite(step, model)``: runs a pass and holds it to the pass contract.

    ``modified`` is told truly, the result is a valid graph in topological order and, in ONNX
    Runtime on random inputs of the sizes above, computes what the model did before.
    """

    def rewrite(step: Any, model: ir.Model, *, modified: bool = True) -> ir.Model:
        before = ir.to_proto(model)
        result = step(model)
        assert result.modified is modified
        cleaned = RemoveUnusedNodesPass()(result.model).model
        after = ir.to_proto(cleaned)
        onnx.checker.check_model(after, full_check=True)
        feeds = _feeds(before)
        for old, new in zip(_run(before, feeds), _run(after, feeds), strict=True):
            np.testing.assert_allclose(new, old, rtol=1e-5, atol=1e-6)
        return cleaned

    return rewrite


def op_types(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


@pytest.fixture(name="op_types")
def _op_types() -> Callable[[ir.Model], list[str]]:
    return op_types


def _feeds(model: onnx.ModelProto) -> dict[str, Any]:
    random = np.random.default_rng(0)
    stored = {tensor.name for tensor in model.graph.initializer}
    feeds = {}
    for value in model.graph.input:
        if value.name in stored:
            continue
        tensor = value.type.tensor_type
        shape = [SIZES[d.dim_param] if d.dim_param else d.dim_value for d in tensor.shape.dim]
        kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        feeds[value.name] = np.asarray(random.standard_normal(shape)).astype(kind)
    return feeds


def _run(model: onnx.ModelProto, feeds: dict[str, Any]) -> list[Any]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, feeds)
