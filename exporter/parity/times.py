"""Where the time of a check goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from exporter.parity.ask import Answer
from exporter.types import Dtype


@dataclass(frozen=True)
class Times:
    """Wall times of a check's parts, in seconds.

    Attributes:
        loading: The UNet built, its weights read or mapped.
        torch: PyTorch in the file's dtype.
        higher: PyTorch one precision higher, which the noise floor is measured with.
        session: ONNX Runtime opening the file.
        run: ONNX Runtime on every case.
        ranges: Half types alone: every value asked for whether it leaves its range.
    """

    loading: float
    torch: float
    higher: float
    session: float
    run: float
    ranges: float

    @property
    def total(self) -> float:
        """The parts together."""
        return float(sum(getattr(self, part.name) for part in fields(self)))

    def __str__(self) -> str:
        parts = ((part.name, getattr(self, part.name)) for part in fields(self))
        return ", ".join(f"{name} {seconds:.1f}" for name, seconds in parts if seconds)


def times(
    dtype: Dtype, answers: Sequence[Answer], session: float, run: float, ranges: float
) -> Times:
    """Adds up what PyTorch's answers took, beside ONNX Runtime's three parts.

    The reference is PyTorch in the file's dtype for fp32, and the higher precision for half
    types; the floor's other run is the other one.
    """
    reference = sum(answer.seconds for answer in answers)
    other = sum(answer.floor_seconds for answer in answers)
    native, higher = (reference, other) if dtype == "fp32" else (other, reference)
    loading = sum(answer.loading for answer in answers)
    return Times(loading, native, higher, session, run, ranges)
