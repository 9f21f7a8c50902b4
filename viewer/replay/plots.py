"""Figures of a recording, drawn with Pillow."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from viewer.model.recording import Array, Quantity, Recording, short
from viewer.replay.scales import Scale, fitted, scale_of

INK, MUTED, PAPER, LINE = (27, 36, 48), (86, 98, 114), (255, 255, 255), (217, 221, 227)
MARGIN = 24
MOST_TOKENS = 12
TILE = 72

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass
class Sheet:
    """A white page with a title, to put things on."""

    image: Image.Image
    draw: ImageDraw.ImageDraw

    @classmethod
    def titled(cls, width: int, height: int, title: str, note: str) -> Sheet:
        """A page of a size, wider if its heading and the line under it need it."""
        longest = max(_font(18).getlength(title), _font(12).getlength(note))
        image = Image.new("RGB", (max(width, int(longest) + 2 * MARGIN), height), PAPER)
        sheet = cls(image, ImageDraw.Draw(image))
        sheet.text((MARGIN, 14), title, 18)
        sheet.text((MARGIN, 38), note, 12, MUTED)
        return sheet

    def text(
        self,
        place: tuple[float, float],
        text: str,
        size: int = 12,
        colour: tuple[int, int, int] = INK,
        anchor: str = "la",
    ) -> None:
        """Writes one line; ``anchor`` as in Pillow."""
        self.draw.text(place, text, fill=colour, font=_font(size), anchor=anchor)

    def put(self, pixels: Array, box: tuple[int, int, int, int]) -> None:
        """Puts an RGB array into a box of left, top, width and height, pixels as squares."""
        left, top, width, height = box
        tile = Image.fromarray(np.ascontiguousarray(pixels))
        self.image.paste(tile.resize((width, height), Image.Resampling.NEAREST), (left, top))

    def bar(self, scale: Scale, left: int, top: int, width: int) -> None:
        """The legend of a scale."""
        ramp = np.linspace(0, 1, width)
        if scale.kind == "log":
            values = np.exp(np.log(scale.low) + ramp * np.log(scale.high / scale.low))
        else:
            values = scale.low + ramp * (scale.high - scale.low)
        self.put(scale.colours(values)[None], (left, top, width, 10))
        self.text((left, top + 13), f"{scale.low:.3g}", 11, MUTED)
        kind = "log" if scale.kind == "log" else ""
        self.text((left + width / 2, top + 13), kind, 11, MUTED, "ma")
        self.text((left + width, top + 13), f"{scale.high:.3g}", 11, MUTED, "ra")


def quantity_figure(recording: Recording, quantity: Quantity) -> Image.Image:
    """Places downwards, steps to the right, one panel a row."""
    rows, places = quantity.values.shape[1], len(quantity.places)
    line = 14 if places <= 90 else 10
    cell = max(4, min(28, 560 // (quantity.values.shape[0] * rows)))
    label, panel = 190, cell * quantity.values.shape[0]
    top = 92
    width = max(640, 2 * MARGIN + label + rows * (panel + 18))
    height = top + line * places + 76
    sheet = Sheet.titled(width, height, quantity.title, f"{recording.title}. {recording.note}")
    scale = scale_of(quantity)
    for index, place in enumerate(quantity.places):
        y = top + index * line + line / 2
        sheet.text((MARGIN + label - 8, y), place.label, line - 2, INK, "rm")
    for row in range(rows):
        left = MARGIN + label + row * (panel + 18)
        sheet.text((left, top - 20), _row_name(recording, row), 12)
        sheet.put(scale.colours(quantity.values[:, row].T), (left, top, panel, line * places))
        _axis(sheet, recording, left, top + line * places + 4, cell)
    sheet.bar(scale, MARGIN + label, height - 36, 240)
    return sheet.image


def maps_figure(recording: Recording, step: int, row: int) -> Image.Image | None:
    """Tokens to the right, layers downwards: who looks at which word, at one step.

    Each map is scaled by itself, so that its shape shows; None without maps.
    """
    found = [(i, a) for i, a in enumerate(recording.listed("attentions"))
             if f"attention.map.{i}" in recording.shapes]  # fmt: skip
    if not found:
        return None
    tokens = shown_tokens(recording, row)
    label, top = 200, 112
    width = 2 * MARGIN + label + len(tokens) * (TILE + 4)
    time = float(recording.read("timestep")[step])
    title = (
        f"Where each token is looked for: step {step + 1} of {recording.steps}, t = {time:g}"
    )
    half = _row_name(recording, row)
    note = ", ".join(filter(None, (recording.title, half))) + f". {recording.note}"
    height = top + len(found) * (TILE + 4) + MARGIN
    sheet = Sheet.titled(max(width, 720), height, title, note)
    sheet.text(
        (MARGIN, 56), "mean over heads; each map from its own least to its most", 11, MUTED
    )
    for column, token in enumerate(tokens):
        x = MARGIN + label + column * (TILE + 4) + TILE / 2
        sheet.text((x, top - 8), token[:10], 12, INK, "ms")
    for line, (index, attention) in enumerate(found):
        y = top + line * (TILE + 4)
        maps = recording.step(f"attention.map.{index}", step)[row].astype(np.float32)
        name = short(str(attention.get("module", ""))).removesuffix(" attn2")
        sheet.text((MARGIN + label - 10, y + TILE / 2 - 8), name, 12, INK, "rm")
        size = f"{maps.shape[1]} x {maps.shape[2]}"
        sheet.text((MARGIN + label - 10, y + TILE / 2 + 8), size, 11, MUTED, "rm")
        for column in range(len(tokens)):
            pixels = fitted(maps[column]).colours(maps[column])
            sheet.put(pixels, (MARGIN + label + column * (TILE + 4), y, *_fit(maps.shape[1:])))
    return sheet.image


def shown_tokens(recording: Recording, row: int) -> tuple[str, ...]:
    """The first tokens of a row: up to the end of the prompt, and not too many."""
    tokens = recording.tokens(row)
    ends = [i for i, token in enumerate(tokens) if token == "<|endoftext|>"]
    count = ends[0] + 1 if ends else len(tokens)
    return tokens[: min(max(count, 2), MOST_TOKENS)]


def film_figure(recording: Recording) -> Image.Image:
    """The image at every step: previews, else the first three latent channels as colours."""
    named = "preview" in recording.shapes
    count = recording.steps
    columns = min(count, 10 if named else 8)
    rows = math.ceil(count / columns)
    tile = 128
    width = max(720, 2 * MARGIN + columns * (tile + 6))
    what = "Decoded previews" if named else "Latents: three channels as red, green and blue"
    if "clean" in recording.shapes:
        what += ", of the image that the scheduler expects"
    sheet = Sheet.titled(
        width, 84 + rows * (tile + 26), what, f"{recording.title}. {recording.note}"
    )
    times = recording.read("timestep")
    for step in range(count):
        x = MARGIN + (step % columns) * (tile + 6)
        y = 68 + (step // columns) * (tile + 26)
        pixels = frame(recording, step)
        sheet.put(pixels, (x, y, *_fit(pixels.shape[:2], tile)))
        sheet.text((x, y + tile + 4), f"{step + 1}  t = {times[step]:g}", 11, MUTED)
    return sheet.image


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
    alike = similarity(vectors)
    size = 420
    sheet = Sheet.titled(
        2 * size + 4 * MARGIN, size + 150, "The time embedding", recording.title
    )
    top = 92
    scale = fitted(vectors, "signed")
    sheet.text((MARGIN, top - 20), f"its {vectors.shape[1]} channels (down) over time", 12)
    sheet.put(scale.colours(vectors.T), (MARGIN, top, size, size))
    sheet.bar(scale, MARGIN, top + size + 24, 200)
    left = 2 * MARGIN + size + MARGIN
    likeness = fitted(alike)
    sheet.text((left, top - 20), "cosine between any two times", 12)
    sheet.put(likeness.colours(alike), (left, top, size, size))
    sheet.bar(likeness, left, top + size + 24, 200)
    times = recording.read("timestep")
    for x in (MARGIN, left):
        sheet.text((x, top + size + 4), f"t = {times[0]:g}", 11, MUTED)
        sheet.text((x + size, top + size + 4), f"t = {times[-1]:g}", 11, MUTED, "ra")
    return sheet.image


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


def _axis(sheet: Sheet, recording: Recording, left: int, top: int, cell: int) -> None:
    times: Sequence[float] = recording.read("timestep").tolist()
    width = cell * len(times)
    sheet.text((left, top), f"t = {times[0]:g}", 11, MUTED)
    if width > 120:
        sheet.text((left + width, top), f"{times[-1]:g}", 11, MUTED, "ra")


def _row_name(recording: Recording, row: int) -> str:
    if len(recording.rows) < 2:
        return ""
    return {"cond": "conditional", "uncond": "unconditional"}.get(recording.rows[row], "")


def _fit(size: Sequence[int], tile: int = TILE) -> tuple[int, int]:
    """Width and height of a picture of (h, w) inside a square tile."""
    height, width = size
    scale = tile / max(height, width)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _font(size: int) -> Font:
    return ImageFont.load_default(size)
