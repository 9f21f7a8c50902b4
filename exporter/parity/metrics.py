"""How far two tensors are apart, and how far they could not help being apart."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from exporter.runtime.session import Array


@dataclass(frozen=True)
class Errors:
    """ONNX Runtime's output ``a`` against PyTorch's ``b``, over every element.

    Attributes:
        max_abs: Largest ``|a-b|``.
        mean_abs: Mean ``|a-b|``.
        rms: Root mean square of ``a-b``.
        max_rel: ``max_abs`` over the largest ``|b|``.
        rel_l2: ``rms`` over the root mean square of ``b``.
        cosine: Cosine of the angle between both.
        psnr: Peak signal to noise ratio in dB over ``b``'s range; infinite when equal.
        tolerance_use: Largest ``|a-b| / (atol + rtol*|b|)``; at most 1 is within tolerance.
            Infinite where ``a`` or ``b`` is not finite.
        nonfinite: Elements of ``a`` that are NaN or infinite.
        elements: Elements in all.
    """

    max_abs: float
    mean_abs: float
    rms: float
    max_rel: float
    rel_l2: float
    cosine: float
    psnr: float
    tolerance_use: float
    nonfinite: int
    elements: int


@dataclass(frozen=True)
class Floor:
    """What is unavoidable: both backends against a run of higher precision on the same input.

    Attributes:
        max_abs: Largest ``|torch - truth|``.
        rms: Root mean square of ``torch - truth``: the noise floor.
        ort_max_abs: Largest ``|ort - truth|``.
        ort_rms: Root mean square of ``ort - truth``.
        dtype: Dtype of the truth, ``float64`` or ``float32``.
    """

    max_abs: float
    rms: float
    ort_max_abs: float
    ort_rms: float
    dtype: str

    @property
    def ratio(self) -> float:
        """How many times the noise floor ONNX Runtime is from the truth; about 1 is ideal."""
        if not math.isfinite(self.ort_rms):
            return math.inf
        return self.ort_rms / self.rms if self.rms else (math.inf if self.ort_rms else 1.0)

    @property
    def max_ratio(self) -> float:
        """The same of the farthest element: one wrong pixel hides in a mean of thousands.

        PyTorch's own farthest counts as six times its mean at least, as in normal noise.
        """
        most = max(self.max_abs, 6 * self.rms)
        if not math.isfinite(self.ort_max_abs):
            return math.inf
        return self.ort_max_abs / most if most else (math.inf if self.ort_max_abs else 1.0)


def compare(ours: Array, reference: Array, *, atol: float = 0.0, rtol: float = 0.0) -> Errors:
    """Measure ``ours`` against ``reference``.

    Args:
        ours: Any shape, any floating dtype.
        reference: The same shape.
        atol: Absolute tolerance of ``tolerance_use``.
        rtol: Relative tolerance of ``tolerance_use``.

    Raises:
        ValueError: If the shapes differ.
    """
    if ours.shape != reference.shape:
        raise ValueError(f"shapes differ: {ours.shape} and {reference.shape}")
    a, b = ours.astype(np.float64).ravel(), reference.astype(np.float64).ravel()
    nonfinite = int(np.count_nonzero(~np.isfinite(a)))
    if nonfinite or not np.isfinite(b).all():
        inf, nan = math.inf, math.nan
        return Errors(inf, inf, inf, inf, inf, nan, -inf, inf, nonfinite, a.size)
    difference = np.abs(a - b)
    worst, rms = float(difference.max()), _rms(difference)
    peak, scale = float(np.abs(b).max()), _rms(b)
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    return Errors(
        max_abs=worst,
        mean_abs=float(difference.mean()),
        rms=rms,
        max_rel=_ratio(worst, peak),
        rel_l2=_ratio(rms, scale),
        cosine=float(a @ b) / norms if norms else float(worst == 0),
        psnr=20 * math.log10(float(np.ptp(b)) / rms) if rms and np.ptp(b) else math.inf,
        tolerance_use=_use(difference, atol + rtol * np.abs(b)),
        nonfinite=0,
        elements=a.size,
    )


def measure_floor(ours: Array, native: Array, truth: Array, eps: float) -> Floor | None:
    """Both backends against the truth; None where PyTorch's own half run is not finite.

    Args:
        ours: ONNX Runtime's output.
        native: PyTorch's, computed in the dtype of the file.
        truth: PyTorch's in a higher precision.
        eps: Machine epsilon of the file's dtype.
    """
    max_torch, rms_torch = _distance(native, truth)
    if not math.isfinite(rms_torch):
        return None
    max_ort, rms_ort = _distance(ours, truth)
    # One rounding of the result is unavoidable even where PyTorch happens to be exact.
    least = eps / 4 * _rms(truth)
    return Floor(max_torch, max(rms_torch, least), max_ort, rms_ort, str(truth.dtype))


def _distance(values: Array, truth: Array) -> tuple[float, float]:
    with np.errstate(invalid="ignore"):  # two infinities
        error = values.astype(np.float64) - truth.astype(np.float64)
    if not np.isfinite(error).all():
        return math.inf, math.inf
    return float(np.abs(error).max()), _rms(error)


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else (math.inf if part else 0.0)


def _use(difference: Array, allowed: Array) -> float:
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.nan_to_num(difference / allowed, nan=0.0, posinf=np.inf).max())
