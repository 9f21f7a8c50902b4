from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx_ir.passes.common import RemoveUnusedNodesPass

from tests.exporter.passes.running import random_feeds, run

Rewrite = Callable[..., ir.Model]


@pytest.fixture
def rewrite() -> Rewrite:
    """``rewrite(step, model)``: runs a pass and holds it to the pass contract.

    ``modified`` is told truly, the result is a valid graph in topological order and, in ONNX
    Runtime on random inputs of the sizes in ``running``, computes what the model did before.
    """

    def rewrite(step: Any, model: ir.Model, *, modified: bool = True) -> ir.Model:
        before = ir.to_proto(model)
        result = step(model)
        assert result.modified is modified
        cleaned = RemoveUnusedNodesPass()(result.model).model
        after = ir.to_proto(cleaned)
        onnx.checker.check_model(after, full_check=True)
        feeds = random_feeds(before)
        for old, new in zip(run(before, feeds), run(after, feeds), strict=True):
            np.testing.assert_allclose(new, old, rtol=1e-5, atol=1e-6)
        return cleaned

    return rewrite


def op_types(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


@pytest.fixture(name="op_types")
def _op_types() -> Callable[[ir.Model], list[str]]:
    return op_types
