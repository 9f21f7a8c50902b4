"""Figures of a recording, drawn with matplotlib."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib import rc_context
from PIL import Image

from viewer.model.condense import shown_tokens
from viewer.model.recording import Array, Quantity, Recording, short
from viewer.replay.drawing import STYLE, bar, drawn, mosaic, picture, time_axis, titled
from viewer.replay.scales import Kind, fitted, scale_of

TILE, GAP = 72, 4
"""Pixels of one attention map, and between two of them."""


def quantity_figure(recording: Recording, quantity: Quantity) -> Image.Image:
    """Places downwards, steps to the right, one panel a row."""
    steps, rows, places = quantity.values.shape
    scale = scale_of(quantity)
    with rc_context(STYLE):
        figure = titled(recording, quantity.title, 4 + 3 * rows, 1.8 + 0.18 * max(places, 6))
        panels = figure.subplots(1, rows, sharey=True, squeeze=False)[0]
        for row, panel in enumerate(panels):
            panel.imshow(scale.colours(quantity.values[:, row].T), aspect="auto")
            panel.set_title(_row_name(recording, row))
            time_axis(panel, recording, steps)
        labels = [place.label for place in quantity.places]
        panels[0].set_yticks(range(places), labels, fontsize=8 if places <= 90 else 6)
        bar(figure, scale, panels)
        return drawn(figure)


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
    with rc_context(STYLE):
        pixels = mosaic(tiles, len(tokens), TILE, GAP)
        figure = titled(recording, title, 2.4, 1.3, *more, pixels=pixels)
        panel = picture(figure, pixels)
        middle = (TILE + GAP) * np.arange(max(len(tokens), len(names))) + TILE / 2
        panel.set_xticks(middle[: len(tokens)], [token[:10] for token in tokens])
        panel.set_yticks(middle[: len(names)], names)
        panel.tick_params(
            top=False, labeltop=True, bottom=False, labelbottom=False, left=False
        )
        return drawn(figure)


def film_figure(recording: Recording) -> Image.Image:
    """The image at every step: previews, else the first three latent channels as colours."""
    named = "preview" in recording.shapes
    what = "Decoded previews" if named else "Latents: three channels as red, green and blue"
    if "clean" in recording.shapes:
        what += ", of the image that the scheduler expects"
    columns, tile, gap = min(recording.steps, 10 if named else 8), 128, 26
    frames = [frame(recording, step) for step in range(recording.steps)]
    with rc_context(STYLE):
        pixels = mosaic(frames, columns, tile, gap)
        figure = titled(recording, what, 0.4, 1.0, pixels=pixels)
        panel = picture(figure, pixels)
        panel.set_axis_off()
        for step, time in enumerate(recording.read("timestep")):
            x, y = step % columns * (tile + gap), step // columns * (tile + gap) + tile + 4
            panel.text(x, y, f"{step + 1}  t = {time:g}", va="top", fontsize=8)
        return drawn(figure)


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
    with rc_context(STYLE):
        figure = titled(recording, "The time embedding", 10, 6)
        for panel, (title, values, kind) in zip(figure.subplots(1, 2), shown, strict=True):
            scale = fitted(values, kind)
            panel.imshow(scale.colours(values), aspect="auto")
            panel.set_title(title)
            panel.set_yticks([])
            time_axis(panel, recording, len(vectors))
            bar(figure, scale, panel)
        return drawn(figure)


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


def _row_name(recording: Recording, row: int) -> str:
    if len(recording.rows) < 2:
        return ""
    return {"cond": "conditional", "uncond": "unconditional"}.get(recording.rows[row], "")
