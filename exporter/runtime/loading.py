"""An .onnx file as a graph, read in one way by everyone."""

from __future__ import annotations

import warnings
from pathlib import Path

import onnx_ir as ir


def load_graph(path: Path) -> ir.Model:
    """Reads a file; weights stay where they are if they are external.

    Entries that onnx_ir does not know are passed over without a word: a warning would be a
    second line beside a command's own.

    Raises:
        Exception: protobuf's and onnx_ir's own, of many classes, where it is no model.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ir.load(path)
