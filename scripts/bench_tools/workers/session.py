"""``session MODEL REFERENCE``: ONNX Runtime on the CPU, the same one for every graph.

Prints the seconds that creating the session took, the median seconds of one step, and the
largest difference from PyTorch.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from typing import Any

import numpy as np
import onnxruntime

PATIENCE = 4.0
"""Seconds of measured steps, of which there are at least three and at most twenty."""

_DTYPES = {
    "tensor(float)": np.float32,
    "tensor(int64)": np.int64,
    "tensor(double)": np.float64,
}


def main(model: str, reference: str) -> None:
    """Measures one file."""
    known = dict(np.load(reference))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    start = time.perf_counter()
    session = onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
    created = time.perf_counter() - start
    feeds = {spec.name: _feed(spec, known) for spec in session.get_inputs()}
    output = session.run(None, feeds)[0]
    difference = float(np.abs(output - known["out_sample"]).max())
    figures = {
        "session": created,
        "latency": statistics.median(_steps(session, feeds)),
        "difference": difference,
    }
    sys.stdout.write(json.dumps(figures) + "\n")


def _steps(session: Any, feeds: dict[str, Any]) -> list[float]:
    times: list[float] = []
    session.run(None, feeds)  # a second warm-up: memory patterns are planned by now
    while len(times) < 3 or (sum(times) < PATIENCE and len(times) < 20):
        start = time.perf_counter()
        session.run(None, feeds)
        times.append(time.perf_counter() - start)
    return times


def _feed(spec: Any, known: dict[str, Any]) -> Any:
    """An input in the dtype and rank that the file declares."""
    value = known[spec.name].astype(_DTYPES[spec.type])
    if spec.name == "timestep" and len(spec.shape) == 0:
        return value.reshape(())
    return value


if __name__ == "__main__":
    main(*sys.argv[1:])
