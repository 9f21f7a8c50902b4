"""Numbers to colours, one scale for all steps of a quantity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps, colors

from viewer.model.recording import Quantity

Array = npt.NDArray[Any]
Kind = Literal["linear", "log", "signed"]

MISSING = "#808080"
_KINDS: dict[str, Kind] = {
    "block.rms": "log",
    "block.std": "log",
    "block.mean": "signed",
    "block.min": "signed",
    "block.max": "signed",
}


@dataclass(frozen=True)
class Scale:
    """From values to colours.

    Attributes:
        kind: ``log`` for sizes that span decades, ``signed`` about zero.
        low: Value of the first colour.
        high: Value of the last colour.
    """

    kind: Kind
    low: float
    high: float

    @property
    def norm(self) -> Any:
        """Matplotlib's, from values to 0 to 1."""
        kind = colors.LogNorm if self.kind == "log" else colors.Normalize
        return kind(self.low, self.high, clip=True)

    @property
    def colormap(self) -> Any:
        """Blue below zero and red above it, or light for much; grey where no number is."""
        return colormaps["RdBu_r" if self.kind == "signed" else "viridis"].with_extremes(
            bad=MISSING
        )

    def place(self, values: Array) -> Array:
        """Values between 0 and 1; NaN where there is no finite number."""
        placed: Array = np.ma.filled(self._placed(values), np.nan)
        return placed

    def colours(self, values: Array) -> Array:
        """RGB of each value: (..., 3) uint8."""
        found: Array = self.colormap(self._placed(values), bytes=True)
        return found[..., :3]

    def _placed(self, values: Array) -> Any:
        return self.norm(np.ma.masked_invalid(values.astype(np.float64)))


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
