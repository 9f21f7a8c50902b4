"""Constants stored in a file against the parameters they should be."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import torch

from exporter.runtime.inlined import Inlined
from exporter.runtime.session import Array
from exporter.types import TORCH_DTYPES, Dtype, Source


def wrong_constants(
    flat: Inlined, node: ir.Node, source: Source, dtype: Dtype
) -> tuple[str, ...]:
    """One sentence for each constant of a node that is none of its module's parameters.

    Args:
        flat: The graph the node is in.
        node: Its constant operands are read, and no others.
        source: Whose parameters they should be.
        dtype: What parameters are rounded to before they are compared.
    """
    module = flat.module(node)
    found = []
    for value in flat.parameters(node):
        assert value.const_value is not None
        if value.const_value.size < 2:
            continue  # a scale or an epsilon, not a parameter
        stored = np.asarray(value.const_value.numpy())
        sentence = _judge(stored, module, source, dtype, value.name or "")
        if sentence:
            found.append(sentence)
    return tuple(found)


def _judge(stored: Array, module: str, source: Source, dtype: Dtype, name: str) -> str:
    """Empty where the constant is a parameter of the module, or resembles none in size."""
    nearest, least = "", np.inf
    for parameter, spec in source.weights.tensors.items():
        if parameter.rpartition(".")[0] != module or np.prod(spec.shape) != stored.size:
            continue
        expected = source.weights.read(parameter).to(TORCH_DTYPES[dtype]).float().numpy()
        for layout in (expected, expected.T):
            error = np.abs(stored.astype(np.float32) - layout.reshape(stored.shape)).max()
            if error < least:
                nearest, least = parameter, float(error)
        if np.isfinite(least) and least <= _rounding(expected, dtype):
            return ""
    if not nearest:
        return ""
    return (
        f"the constant {name} is not the parameter {nearest}: they differ by up to {least:.2g}"
    )


def _rounding(expected: Array, dtype: Dtype) -> float:
    return float(torch.finfo(TORCH_DTYPES[dtype]).eps * np.abs(expected).max())
