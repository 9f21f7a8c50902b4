"""What all figures of recordings are made of: a headed page, panels, mosaics, scales."""

from __future__ import annotations

import math
import textwrap
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from PIL import Image

from viewer.model.recording import Array, Recording
from viewer.replay.scales import Scale

DPI = 100

# Names in a recording are text, never TeX.
STYLE = {"text.parse_math": False, "font.size": 9, "axes.titlesize": 10}


def titled(
    recording: Recording,
    title: str,
    width: float,
    height: float,
    *more: str,
    pixels: Any = None,
) -> Figure:
    """A page of a size in inches, or of one so much larger than a picture, with a heading."""
    tall, wide = (0, 0) if pixels is None else pixels.shape[:2]
    note = ". ".join(filter(None, (recording.title, *more, recording.note)))
    size = (max(width + wide / DPI, 7.2), height + tall / DPI)
    figure = Figure(size, DPI, layout="constrained")
    lines = [title, *textwrap.wrap(note, int(size[0] * 13))]
    figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=10)
    return figure


def picture(figure: Figure, pixels: Array) -> Any:
    """A panel of pixels as they are, without a frame."""
    panel = figure.subplots()
    panel.imshow(pixels, interpolation="nearest")
    for spine in panel.spines.values():
        spine.set_visible(False)
    return panel


def time_axis(panel: Any, recording: Recording, steps: int) -> None:
    """The first and the last timestep below a panel."""
    times = recording.read("timestep")
    shown = sorted({0, steps - 1})
    panel.set_xticks(shown, [f"t = {times[at]:g}" for at in shown])


def bar(figure: Figure, scale: Scale, panels: Any) -> None:
    """A scale's colours and their numbers below some panels."""
    mappable = ScalarMappable(scale.norm, scale.colormap)
    colours = figure.colorbar(
        mappable, ax=panels, location="bottom", shrink=0.6, aspect=40, format="{x:.3g}"
    )
    colours.minorticks_off()
    if scale.kind == "log":
        colours.set_ticks(sorted({scale.low, math.sqrt(scale.low * scale.high), scale.high}))


def mosaic(tiles: Sequence[Array], columns: int, tile: int, gap: int) -> Array:
    """Pictures in rows on white, each as large as fits a square of ``tile`` pixels."""
    rows = math.ceil(len(tiles) / columns)
    sheet = np.full((rows * (tile + gap), columns * (tile + gap), 3), 255, np.uint8)
    for at, pixels in enumerate(tiles):
        height, width = pixels.shape[:2]
        size = [max(1, round(side * tile / max(height, width))) for side in (width, height)]
        image = Image.fromarray(np.ascontiguousarray(pixels))
        shown = np.asarray(image.resize((size[0], size[1]), Image.Resampling.NEAREST))
        y, x = at // columns * (tile + gap), at % columns * (tile + gap)
        sheet[y : y + size[1], x : x + size[0]] = shown
    return sheet


def drawn(figure: Figure) -> Image.Image:
    """A figure as an image."""
    canvas = FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a token may be of any script
        canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
