"""External weights of a file, as another file in another folder refers to them."""

from __future__ import annotations

import os
from pathlib import Path

import onnx_ir as ir

from exporter.errors import TargetError
from exporter.weights.attach import moved


def link(model: ir.Model, source: Path, folder: Path) -> None:
    """Makes every external tensor relative to ``folder``; the bytes stay where they are.

    Marks parameters as such on the way: initializers of floats with axes.

    Args:
        model: A flat model; modified in place.
        source: The file that it was read from.
        folder: Where the new one will be.

    Raises:
        TargetError: Weights lie outside ``folder``: ONNX Runtime refuses such a reference.
    """
    for value in model.graph.initializers.values():
        tensor = value.const_value
        if tensor is None:
            continue
        value.meta["parameter"] = tensor.dtype.is_floating_point() and len(tensor.shape) > 0
        if isinstance(tensor, ir.ExternalTensor):
            value.const_value = _moved(tensor, source, folder)


def _moved(tensor: ir.ExternalTensor, source: Path, folder: Path) -> ir.ExternalTensor:
    place = os.path.realpath(source.parent / tensor.location)
    home = os.path.realpath(folder)
    if os.path.commonpath([place, home]) != home:
        raise TargetError(
            f"the weights lie in {Path(place).parent}", "the target beside or above them"
        )
    return moved(tensor, Path(os.path.relpath(place, home)), folder)
