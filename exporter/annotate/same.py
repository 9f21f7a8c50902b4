"""Whether two files compute the same: as expressions, and bit by bit in ONNX Runtime.

ONNX Runtime's own optimisations are off: into which of two convolutions it fuses an Add hangs
on the order of nodes, and moves the last bits of either file (docs/FORMAT.md).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime

from exporter.annotate.expression import expression
from exporter.errors import ParityError
from exporter.runtime.loading import load_proto
from exporter.runtime.session import Array, open_session
from exporter.types import Provider

SIZES = {"B": 2, "H": 32, "W": 16, "S": 7, "T": 1}
"""Sizes of the axes that are free; even at every level, since other exporters fix that."""

_DO = ("the same bits", "please report it; --no-check writes the copy all the same")
_HALVES = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
}


def require_same(source: Path, copy: Path, provider: Provider) -> str:
    """Compares what both compute, then runs both on one random input.

    In half types ONNX Runtime casts what it has no kernel for, and which casts cancel out
    hangs on the order of nodes: there, the copy has only to run.

    Args:
        source: The file as it was.
        copy: The same inputs and outputs, with axes named as in ``SIZES``.
        provider: Where both run.

    Returns:
        What was seen to be the same: ``bits``, or ``operators`` in half types.

    Raises:
        ParityError: An operator, an operand or a bit of the output differs.
        UsageError: ONNX Runtime cannot load one of them.
    """
    if expression(source) != expression(copy):
        raise ParityError(
            f"the annotated copy computes something else than {source.name}", *_DO
        )
    session = open_session(copy, provider, optimize=False).raw
    feeds = _feeds(session)
    ours = _run(session, feeds)
    del session
    if any(ir.DataType(kind) in _HALVES for kind in _types(source)):
        return "operators"
    theirs = _run(open_session(source, provider, optimize=False).raw, feeds)
    for one, other in zip(ours, theirs, strict=True):
        if one.shape != other.shape or one.tobytes() != other.tobytes():
            far = "" if one.shape != other.shape else f" by {np.abs(one - other).max():.2g}"
            raise ParityError(f"the annotated copy differs from {source.name}{far}", *_DO)
    return "bits"


def _types(path: Path) -> set[int]:
    """Element types of the weights."""
    graph = load_proto(path).graph
    held = (a.t for node in graph.node for a in node.attribute if a.HasField("t"))
    return {tensor.data_type for tensor in (*graph.initializer, *held)}


def _feeds(session: onnxruntime.InferenceSession) -> dict[str, Array]:
    random = np.random.default_rng(0)
    return {spec.name: _random(random, spec) for spec in session.get_inputs()}


def _random(random: np.random.Generator, spec: Any) -> Array:
    shape = [d if isinstance(d, int) else SIZES.get(str(d), SIZES["B"]) for d in spec.shape]
    kind = _TYPES.get(spec.type, np.float32)
    if np.issubdtype(kind, np.floating):
        return random.standard_normal(shape).astype(kind)
    return random.integers(0, 2, shape).astype(kind)


def _run(session: onnxruntime.InferenceSession, feeds: dict[str, Array]) -> list[Array]:
    try:
        return [np.asarray(value) for value in session.run(None, feeds)]
    except Exception as error:  # the binding raises one class per status code
        text = " ".join(str(error).split())[:300]
        raise ParityError(f"ONNX Runtime cannot run the graph: {text}") from error
