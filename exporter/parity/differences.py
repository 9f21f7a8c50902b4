"""What each condition changes, ours against PyTorch's: a weak one hides in a whole output."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from exporter.parity.conditions import Condition
from exporter.runtime.session import Array

Verdict = Literal["passed", "failed", "not provable"]

MARGIN = 2.0
"""A condition is provable where ignoring it would be this many times the limit."""


@dataclass(frozen=True)
class Difference:
    """What one condition changes: output under one value of it, less that under another.

    Attributes:
        condition: Its name.
        signal: Root mean square of that difference in the truth.
        floor: Root mean square of PyTorch's own error in it.
        error: Root mean square of ONNX Runtime's error in it.
        limit: How many floors the error may be.
    """

    condition: str
    signal: float
    floor: float
    error: float
    limit: float

    @property
    def ratio(self) -> float:
        """The error in noise floors."""
        return self.error / self.floor if math.isfinite(self.error) else math.inf

    @property
    def verdict(self) -> Verdict:
        """Whether the file follows the condition, where this dtype can tell at all."""
        if not self.ratio <= self.limit:
            return "failed"
        hidden = self.signal < MARGIN * self.limit * self.floor
        return "not provable" if hidden else "passed"


def differences(
    outputs: tuple[Array, Array, Array],
    wanted: Sequence[Condition],
    *,
    eps: float,
    limit: float,
) -> Iterator[Difference]:
    """Measure every condition of a contrasted case.

    Args:
        outputs: ONNX Runtime's, PyTorch's in the file's dtype, and the truth; (B, C, H, W),
            sample k differing from sample 0 in the k-th condition alone.
        wanted: The conditions.
        eps: Machine epsilon of the file's dtype.
        limit: How many floors the error may be.
    """
    ours, native, truth = (output.astype(np.float64) for output in outputs)
    # One rounding of each output is unavoidable even where PyTorch happens to be exact.
    least = eps / 4 * _rms(truth)
    for index, condition in enumerate(wanted[: len(truth) - 1], start=1):
        a, b, c = (x[index] - x[0] for x in (ours, native, truth))
        floor = max(_rms(b - c), least)
        yield Difference(condition.name, _rms(c), floor, _rms(a - c), limit)


def _rms(values: Array) -> float:
    with np.errstate(invalid="ignore", over="ignore"):
        return float(np.sqrt(np.mean(np.square(values))))
