"""Strips of small images with words above them, as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

_STYLE = {"text.parse_math": False, "font.size": 9}
_TILE = 1.35  # inches


def strip(
    tiles: Sequence[tuple[str, NDArray[Any]]], file: Path, *, columns: int | None = None
) -> None:
    """Writes images side by side.

    Args:
        tiles: What is written above each, and the image: (H, W, 3) uint8, or (H, W) as a map
            from its own least to its most.
        file: The .png.
        columns: Images in a row; all of them unless told.
    """
    columns = columns or len(tiles)
    rows = -(-len(tiles) // columns)
    with rc_context(_STYLE):
        figure = Figure(figsize=(_TILE * columns, (_TILE + 0.42) * rows), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for panel in panels:
            panel.axis("off")
        for panel, (title, image) in zip(panels, tiles, strict=False):
            panel.imshow(image, interpolation="nearest")
            panel.set_title(title, fontsize=8)
            height, width = image.shape[:2]
            edge = Rectangle(
                (-0.5, -0.5), width, height, fill=False, color="#999", linewidth=0.8
            )
            panel.add_patch(edge)
        figure.savefig(file, dpi=110)


def over(image: NDArray[np.uint8], heat: NDArray[Any]) -> NDArray[np.uint8]:
    """An image that is grey where a map is low, and keeps its colours where it is high.

    Args:
        image: (48, 48, 3).
        heat: (side, side), side a divisor of 48.
    """
    times = image.shape[0] // heat.shape[0]
    large = np.kron(heat, np.ones((times, times)))[..., None]
    share = (large - large.min()) / (np.ptp(large) or 1)
    dark = image.mean(-1, keepdims=True) * 0.35
    shown: NDArray[np.uint8] = (share * image + (1 - share) * dark).astype(np.uint8)
    return shown
