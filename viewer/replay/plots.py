"""Figures of a recording, drawn with matplotlib."""

from __future__ import annotations

import math
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from PIL import Image

from viewer.model.recording import Array, Quantity, Recording, short
from viewer.replay.condense import shown_tokens
from viewer.replay.scales import Kind, Scale, fitted, scale_of

DPI = 100
TILE, GAP = 72, 4
"""Pixels of one attention map, and between two of them."""

# Names in a recording are text, never TeX.
_STYLE = {"text.parse_math": False, "font.size": 9, "axes.titlesize": 10}


def quantity_figure(recording: Recording, quantity: Quantity) -> Image.Image:
    """Places downwards, steps to the right, one panel a row."""
    steps, rows, places = quantity.values.shape
    scale = scale_of(quantity)
    with rc_context(_STYLE):
        figure = _titled(recording, quantity.title, 4 + 3 * rows, 1.8 + 0.18 * max(places, 6))
        panels = figure.subplots(1, rows, sharey=True, squeeze=False)[0]
        for row, panel in enumerate(panels):
            panel.imshow(scale.colours(quantity.values[:, row].T), aspect="auto")
            panel.set_title(_row_name(recording, row))
            _time_axis(panel, recording, steps)
        labels = [place.label for place in quantity.places]
        panels[0].set_yticks(range(places), labels, fontsize=8 if places <= 90 else 6)
        _bar(figure, scale, panels)
        return _drawn(figure)


def maps_figure(recording: Recording, step: int, row: int) -> Image.Image | None:
    """Tokens to the right, layers downwards: who looks at which word, at one step.

    Each map is scaled by itself, so that its shape shows; None without maps.
    """
    found = [(i, a) for i, a in enumerate(recording.listed("attentions"))
             if f"attention.map.{i}" in recording.shapes]  # fmt: skip
    if not found:
        return None
    tokens, tiles, names = shown_tokens(recording, row), [], []
    for index, attention in found:
        maps = recording.step(f"attention.map.{index}", step)[row].astype(np.float32)
        tiles += [fitted(maps[at]).colours(maps[at]) for at in range(len(tokens))]
        name = short(str(attention.get("module", ""))).removesuffix(" attn2")
        names.append(f"{name}\n{maps.shape[1]} x {maps.shape[2]}")
    time = float(recording.read("timestep")[step])
    title = (
        f"Where each token is looked for: step {step + 1} of {recording.steps}, t = {time:g}"
    )
    note = "mean over heads; each map from its own least to its most"
    more = (_row_name(recording, row), note)
    with rc_context(_STYLE):
        pixels = _mosaic(tiles, len(tokens), TILE, GAP)
        figure = _titled(recording, title, 2.4, 1.3, *more, pixels=pixels)
        panel = _picture(figure, pixels)
        middle = (TILE + GAP) * np.arange(max(len(tokens), len(names))) + TILE / 2
        panel.set_xticks(middle[: len(tokens)], [token[:10] for token in tokens])
        panel.set_yticks(middle[: len(names)], names)
        panel.tick_params(
            top=False, labeltop=True, bottom=False, labelbottom=False, left=False
        )
        return _drawn(figure)


def film_figure(recording: Recording) -> Image.Image:
    """The image at every step: previews, else the first three latent channels as colours."""
    named = "preview" in recording.shapes
    what = "Decoded previews" if named else "Latents: three channels as red, green and blue"
    if "clean" in recording.shapes:
        what += ", of the image that the scheduler expects"
    columns, tile, gap = min(recording.steps, 10 if named else 8), 128, 26
    frames = [frame(recording, step) for step in range(recording.steps)]
    with rc_context(_STYLE):
        pixels = _mosaic(frames, columns, tile, gap)
        figure = _titled(recording, what, 0.4, 1.0, pixels=pixels)
        panel = _picture(figure, pixels)
        panel.set_axis_off()
        for step, time in enumerate(recording.read("timestep")):
            x, y = step % columns * (tile + gap), step // columns * (tile + gap) + tile + 4
            panel.text(x, y, f"{step + 1}  t = {time:g}", va="top", fontsize=8)
        return _drawn(figure)


def frame(recording: Recording, step: int) -> Array:
    """The picture of one step: (h, w, 3) uint8."""
    if "preview" in recording.shapes:
        return recording.step("preview", step)
    name = "clean" if "clean" in recording.shapes else "latents"
    index = step if name == "clean" else step + 1
    latents = np.nan_to_num(recording.step(name, index).astype(np.float32))[:3]
    if len(latents) < 3:
        latents = np.repeat(latents[:1], 3, axis=0)
    low, high = np.percentile(latents, [1, 99])
    scaled = np.clip((latents - low) / max(high - low, 1e-9), 0, 1)
    pixels: Array = (scaled * 255).round().astype(np.uint8).transpose(1, 2, 0)
    return pixels


def time_figure(recording: Recording) -> Image.Image | None:
    """The vector that every resnet receives over t, and how alike it is at any two times."""
    if "temb" not in recording.shapes:
        return None
    vectors = recording.read("temb")[:, -1].astype(np.float64)
    shown: tuple[tuple[str, Array, Kind], ...] = (
        (f"its {vectors.shape[1]} channels (down) over time", vectors.T, "signed"),
        ("cosine between any two times", similarity(vectors), "linear"),
    )
    with rc_context(_STYLE):
        figure = _titled(recording, "The time embedding", 10, 6)
        for panel, (title, values, kind) in zip(figure.subplots(1, 2), shown, strict=True):
            scale = fitted(values, kind)
            panel.imshow(scale.colours(values), aspect="auto")
            panel.set_title(title)
            panel.set_yticks([])
            _time_axis(panel, recording, len(vectors))
            _bar(figure, scale, panel)
        return _drawn(figure)


def similarity(vectors: Array) -> Array:
    """Cosine of the angle between every two of N vectors: (N, N)."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.maximum(lengths, 1e-12)
    product: Array = unit @ unit.T
    return product


def figures(recording: Recording, step: int) -> Iterator[tuple[str, Image.Image]]:
    """Every figure of a recording with a name for its file.

    Args:
        recording: What to draw.
        step: The one whose attention maps are drawn.
    """
    for quantity in recording.quantities:
        yield quantity.name.replace(".", "-"), quantity_figure(recording, quantity)
    found = {"time-embedding": time_figure(recording)}
    if recording.kind == "sampling":
        yield "film", film_figure(recording)
        for row, name in enumerate(recording.rows):
            found[f"attention-{name}"] = maps_figure(recording, step, row)
    for name, image in found.items():
        if image is not None:
            yield name, image


def _titled(
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


def _picture(figure: Figure, pixels: Array) -> Any:
    panel = figure.subplots()
    panel.imshow(pixels, interpolation="nearest")
    for spine in panel.spines.values():
        spine.set_visible(False)
    return panel


def _time_axis(panel: Any, recording: Recording, steps: int) -> None:
    times = recording.read("timestep")
    shown = sorted({0, steps - 1})
    panel.set_xticks(shown, [f"t = {times[at]:g}" for at in shown])


def _bar(figure: Figure, scale: Scale, panels: Any) -> None:
    mappable = ScalarMappable(scale.norm, scale.colormap)
    bar = figure.colorbar(
        mappable, ax=panels, location="bottom", shrink=0.6, aspect=40, format="{x:.3g}"
    )
    bar.minorticks_off()
    if scale.kind == "log":
        bar.set_ticks(sorted({scale.low, math.sqrt(scale.low * scale.high), scale.high}))


def _mosaic(tiles: Sequence[Array], columns: int, tile: int, gap: int) -> Array:
    """Pictures in rows on white, each as large as fits a square of ``tile`` pixels."""
    rows = math.ceil(len(tiles) / columns)
    sheet = np.full((rows * (tile + gap), columns * (tile + gap), 3), 255, np.uint8)
    for at, pixels in enumerate(tiles):
        height, width = pixels.shape[:2]
        size = [max(1, round(side * tile / max(height, width))) for side in (width, height)]
        image = Image.fromarray(np.ascontiguousarray(pixels))
        drawn = np.asarray(image.resize((size[0], size[1]), Image.Resampling.NEAREST))
        y, x = at // columns * (tile + gap), at % columns * (tile + gap)
        sheet[y : y + size[1], x : x + size[0]] = drawn
    return sheet


def _drawn(figure: Figure) -> Image.Image:
    canvas = FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a token may be of any script
        canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def _row_name(recording: Recording, row: int) -> str:
    if len(recording.rows) < 2:
        return ""
    return {"cond": "conditional", "uncond": "unconditional"}.get(recording.rows[row], "")
