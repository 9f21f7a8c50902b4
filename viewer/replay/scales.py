"""Numbers to colours, one scale for all steps of a quantity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from viewer.model.recording import Quantity

Array = npt.NDArray[Any]
Kind = Literal["linear", "log", "signed"]

SEQUENTIAL = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
"""Viridis (https://bids.github.io/colormap/) at five places; light means much."""

DIVERGING = ((33, 102, 172), (146, 197, 222), (247, 247, 247), (244, 165, 130), (178, 24, 43))
"""Blue below zero, red above it (ColorBrewer's RdBu)."""

MISSING = (128, 128, 128)
_KINDS: dict[str, Kind] = {
    "block.rms": "log",
    "block.std": "log",
    "block.mean": "signed",
    "block.min": "signed",
    "block.max": "signed",
}


@dataclass(frozen=True)
class Scale:
    """From values to 0 to 1.

    Attributes:
        kind: ``log`` for sizes that span decades, ``signed`` about zero.
        low: Value of 0.
        high: Value of 1.
    """

    kind: Kind
    low: float
    high: float

    def place(self, values: Array) -> Array:
        """Values between 0 and 1; NaN where there is no finite number."""
        x = values.astype(np.float64)
        low, high = self.low, self.high
        if self.kind == "log":
            x = np.log(np.maximum(x, low))
            low, high = np.log(low), np.log(high)
        placed = (x - low) / (high - low) if high > low else np.full_like(x, 0.5)
        return np.where(np.isfinite(values), np.clip(placed, 0, 1), np.nan)

    def colours(self, values: Array) -> Array:
        """RGB of each value: (..., 3) uint8."""
        placed = self.place(values)
        stops = np.array(DIVERGING if self.kind == "signed" else SEQUENTIAL, np.float64)
        at = np.nan_to_num(placed) * (len(stops) - 1)
        left = np.minimum(at.astype(int), len(stops) - 2)
        part = (at - left)[..., None]
        mixed = stops[left] * (1 - part) + stops[left + 1] * part
        found = np.where(np.isnan(placed)[..., None], MISSING, mixed)
        rounded: Array = found.round().astype(np.uint8)
        return rounded


def scale_of(quantity: Quantity) -> Scale:
    """The scale of a quantity over all steps, rows and places."""
    return fitted(quantity.values, _KINDS.get(quantity.name, "linear"))


def fitted(values: Array, kind: Kind = "linear") -> Scale:
    """The scale that just holds some values."""
    finite = values[np.isfinite(values)].astype(np.float64)
    if kind == "log":
        finite = finite[finite > 0]
    if finite.size == 0:
        return Scale(kind, 1.0, 1.0)
    if kind == "signed":
        most = float(np.abs(finite).max())
        return Scale(kind, -most, most)
    return Scale(kind, float(finite.min()), float(finite.max()))
