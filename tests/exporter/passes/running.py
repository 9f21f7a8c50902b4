"""Small graphs in ONNX Runtime, on random inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime

SIZES = {"B": 2, "H": 5, "W": 3, "HW": 15, "S": 4, "L": 6, "T": 1, "H/2": 3, "W/2": 2}


def random_feeds(model: onnx.ModelProto) -> dict[str, Any]:
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


def run(model: onnx.ModelProto, feeds: dict[str, Any]) -> list[Any]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, feeds)
