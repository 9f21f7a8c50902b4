"""How much difference is allowed, and why that much; docs/PARITY.md has the measurements."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from exporter.errors import UsageError
from exporter.types import Dtype


@dataclass(frozen=True)
class Tolerance:
    """What one case must satisfy: ``|a-b| <= atol + rtol*|b|`` for every element, and more.

    Attributes:
        atol: Absolute tolerance, in units of the model's output.
        rtol: Relative tolerance.
        floor_factor: ONNX Runtime may be this many times the noise floor from the truth;
            None where the user gave a tolerance of his own, which then alone decides.
    """

    atol: float
    rtol: float
    floor_factor: float | None


DEFAULTS: Mapping[Dtype, Tolerance] = {
    "fp32": Tolerance(atol=1e-4, rtol=1e-4, floor_factor=2.0),
    "fp16": Tolerance(atol=3e-2, rtol=3e-2, floor_factor=2.0),
    "bf16": Tolerance(atol=2e-1, rtol=2e-1, floor_factor=3.0),
}
"""Per dtype: fifty (fp32) or a dozen (half types) times the largest floor of the models in
docs/PARITY.md. The sharper judgement is the floor of the very case: honest files were at 0.8
to 1.2 of it, while a bias vector that is wrong by 1 % is beyond 3 wherever it is (but for one
vector in 180), though it may use a hundredth of the tolerance."""


def resolve(
    dtype: Dtype,
    atol: float | None = None,
    rtol: float | None = None,
    floor_factor: float | None = None,
) -> Tolerance:
    """The user's numbers where given, else the dtype's.

    Args:
        dtype: Dtype of the file.
        atol: The user's absolute tolerance, or None.
        rtol: The user's relative tolerance, or None. Where only one of both is given the
            other is zero.
        floor_factor: The user's limit in noise floors, or None.

    Raises:
        UsageError: If a number is negative or not finite.
    """
    require_tolerances(atol, rtol, floor_factor)
    default = DEFAULTS[dtype]
    if atol is None and rtol is None:
        return Tolerance(default.atol, default.rtol, floor_factor or default.floor_factor)
    return Tolerance(atol or 0.0, rtol or 0.0, floor_factor)


def require_tolerances(
    atol: float | None, rtol: float | None, floor_factor: float | None = None
) -> None:
    """Refuses, before any work, numbers that are no tolerances.

    Raises:
        UsageError: If a number is negative or not finite, or a floor factor 0.
    """
    for name, value in (("atol", atol), ("rtol", rtol), ("floor factor", floor_factor)):
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise UsageError(f"{name} of {value}", "a number from 0")
    if floor_factor == 0:
        raise UsageError("floor factor of 0", "a number above 0: nothing is without noise")
