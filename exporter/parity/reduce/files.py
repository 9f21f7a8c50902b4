"""A reduction as three files that need nothing of ours: the model, its numbers, a script."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from exporter.disk import replacing, write_text
from exporter.errors import TargetError, UsageError
from exporter.parity.reduce.reduction import Reduction

SCRIPT = '''\
"""{finding}"""
import pathlib, numpy as np, onnxruntime as ort

here = pathlib.Path(__file__)
ort.set_default_logger_severity(3)
inputs = dict(np.load(here.with_suffix(".npz")))
expected, limit = inputs.pop("expected"), inputs.pop("limit")
session = ort.InferenceSession(here.with_suffix(".onnx"), providers=["{provider}"])
(got,) = session.run(None, inputs)
error = np.sqrt(np.mean((got.astype(np.float64) - expected) ** 2))
raise SystemExit(f"wrong: {{error:.3g}}, limit {{limit:.3g}}" * int(not error <= limit) or 0)
'''
"""Ten lines; exits with 0 when the fault is gone."""

_MARK = 'expected, limit = inputs.pop("expected")'


def write(reduction: Reduction, target: Path, provider: str) -> tuple[Path, Path, Path]:
    """Writes ``NAME.onnx``, ``NAME.npz`` and ``NAME.py``.

    Args:
        reduction: What to write.
        target: The .onnx; its folder exists.
        provider: ONNX Runtime's name of the execution provider that it fails on.

    Raises:
        TargetError: A file cannot be written.
    """
    numbers, script = target.with_suffix(".npz"), target.with_suffix(".py")
    absent = np.zeros(0) if reduction.expected is None else reduction.expected
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {**reduction.inputs, "limit": np.float64(reduction.limit)}
    np.savez_compressed(buffer, expected=absent, **arrays)
    for path, content in ((target, reduction.serialized), (numbers, buffer.getvalue())):
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    said = str(reduction.finding).replace("\\", "/").replace('"', "'")
    write_text(script, SCRIPT.format(finding=said, provider=provider))
    return target, numbers, script


def guard(target: Path, checked: Path) -> None:
    """Refuses to replace what no reduction wrote: three files are named after the target.

    Raises:
        UsageError: Another ending, or the file that is being checked.
        TargetError: One of the three exists and is someone's own.
    """
    if target.suffix != ".onnx":
        raise UsageError(f"--reduce {target}", "a name that ends in .onnx")
    if target.absolute() == checked.absolute():
        raise UsageError(f"--reduce {target} and the file to check are one")
    script = target.with_suffix(".py")
    if _MARK in (script.read_text("utf-8", "replace") if script.is_file() else ""):
        return
    for path in (target, target.with_suffix(".npz"), script):
        if path.exists():
            raise TargetError(
                f"--reduce would replace {path}, which no reduction wrote",
                do="give it another name",
            )
