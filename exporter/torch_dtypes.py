"""Dtypes as torch names them, for whoever computes with it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from onnx_ir.tensor_adapters import to_torch_dtype

from exporter.types import DTYPES, Dtype

TORCH_DTYPES: Mapping[Dtype, torch.dtype] = {
    name: to_torch_dtype(dtype) for name, dtype in DTYPES.items()
}
