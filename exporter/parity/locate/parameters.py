"""Constants of a file against the parameters they should be."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import torch

from exporter.parity.subject import Subject
from exporter.paths import parent
from exporter.runtime.inlined import Inlined
from exporter.runtime.session import Array


def wrong_parameters(flat: Inlined, node: ir.Node, subject: Subject) -> tuple[str, ...]:
    """One sentence for each constant of a node that is none of its module's parameters.

    Args:
        flat: The graph the node is in.
        node: Its constant operands are read, and no others.
        subject: Whose parameters they should be, and what these are rounded to before.
    """
    module = flat.module(node)
    found = []
    for value in flat.parameters(node):
        assert value.const_value is not None
        if value.const_value.size < 2:
            continue  # a scale or an epsilon, not a parameter
        constant = np.asarray(value.const_value.numpy())
        sentence = _compare(constant, module, subject, value.name or "")
        if sentence:
            found.append(sentence)
    return tuple(found)


def _compare(constant: Array, module: str, subject: Subject, name: str) -> str:
    """Empty where the constant is a parameter of the module, or resembles none in size."""
    nearest, least = "", np.inf
    for parameter, spec in subject.source.weights.tensors.items():
        if parent(parameter) != module or np.prod(spec.shape) != constant.size:
            continue
        expected = (
            subject.source.weights.read(parameter).to(subject.torch_dtype).float().numpy()
        )
        for layout in (expected, expected.T):
            error = np.abs(constant.astype(np.float32) - layout.reshape(constant.shape)).max()
            if error < least:
                nearest, least = parameter, float(error)
        if np.isfinite(least) and least <= _rounding(expected, subject.torch_dtype):
            return ""
    if not nearest:
        return ""
    return (
        f"the constant {name} is not the parameter {nearest}: they differ by up to {least:.2g}"
    )


def _rounding(expected: Array, dtype: torch.dtype) -> float:
    return float(torch.finfo(dtype).eps * np.abs(expected).max())
