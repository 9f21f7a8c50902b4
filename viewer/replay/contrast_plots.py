"""Figures of two recordings side by side, drawn with matplotlib."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib import rc_context
from PIL import Image

from viewer.model.recording import Array, short
from viewer.replay.contrast import Change, Contrast
from viewer.replay.drawing import STYLE, bar, drawn, mosaic, picture, time_axis, titled
from viewer.replay.plots import frame
from viewer.replay.scales import Kind, fitted

COLUMNS, TILE, GAP = 8, 96, 4


def figures(found: Contrast) -> Iterator[tuple[str, Image.Image]]:
    """Every figure with a name for its file."""
    yield "contrast-image", image_figure(found)
    yield "contrast-curves", curves_figure(found)
    for change in found.changes:
        yield (
            f"contrast-{change.quantity.name.replace('.', '-')}",
            change_figure(found, change),
        )
    if found.maps:
        yield "contrast-attention", attention_figure(found)


def image_figure(found: Contrast) -> Image.Image:
    """Both films at the same share of the way, and how far apart their pixels are."""
    shares = np.linspace(0, 1, COLUMNS)
    films = [
        [frame(recording, round(share * (recording.steps - 1))) for share in shares]
        for recording in (found.a, found.b)
    ]
    apart = [_apart(one, other) for one, other in zip(*films, strict=True)]
    with rc_context(STYLE):
        pixels = mosaic([*films[0], *films[1], *apart], COLUMNS, TILE, GAP)
        figure = titled(found.a, _title(found), 1.6, 1.2, pixels=pixels)
        panel = picture(figure, pixels)
        middle = (TILE + GAP) * np.arange(3) + TILE / 2
        panel.set_yticks(middle, ["first", "second", "apart"])
        panel.set_xticks([])
        return drawn(figure)


def curves_figure(found: Contrast) -> Image.Image:
    """How far image and prediction are apart, over the steps."""
    with rc_context(STYLE):
        figure = titled(found.a, _title(found), 7.2, 3.6)
        panel = figure.subplots()
        for values, name in ((found.image, "latents"), (found.predicted, "prediction")):
            if len(values) > 1:
                first = 0 if name == "latents" else 1
                panel.plot(np.arange(first, first + len(values)), values, label=name)
        panel.set_ylabel("rms of the difference over rms")
        panel.set_xlabel("step")
        panel.set_ylim(bottom=0)
        if panel.get_legend_handles_labels()[0]:
            panel.legend()
        return drawn(figure)


def change_figure(found: Contrast, change: Change) -> Image.Image:
    """Places downwards, steps to the right: second less first."""
    labels = [place.label for place in change.quantity.places]
    title = f"{change.quantity.title}: second less first"
    return _heat(found, title, change.values, labels, "signed")


def attention_figure(found: Contrast) -> Image.Image:
    """Of each cross-attention, the share of attention that went elsewhere."""
    labels = [short(module).removesuffix(" attn2") for module in found.maps]
    values = np.stack(list(found.maps.values()), axis=1)
    return _heat(
        found, "Share of attention that went to other tokens", values, labels, "linear"
    )


def _heat(
    found: Contrast, title: str, values: Array, labels: list[str], kind: Kind
) -> Image.Image:
    scale = fitted(values, kind)
    with rc_context(STYLE):
        figure = titled(found.a, title, 7.2, 1.8 + 0.18 * max(len(labels), 6), _title(found))
        panel = figure.subplots()
        panel.imshow(scale.colours(values.T), aspect="auto")
        panel.set_yticks(range(len(labels)), labels, fontsize=8 if len(labels) <= 90 else 6)
        time_axis(panel, found.a, len(values))
        bar(figure, scale, panel)
        return drawn(figure)


def _title(found: Contrast) -> str:
    differing = ", ".join(found.asked) or "nothing that was asked for"
    return f"{found.b.path.name} against {found.a.path.name}: {differing} differs"


def _apart(one: Array, other: Array) -> Array:
    """Largest difference of the three channels as grey, white for none."""
    if one.shape != other.shape:
        return np.full((8, 8, 3), 255, np.uint8)
    most = np.abs(one.astype(np.int16) - other).max(-1, keepdims=True)
    return np.repeat((255 - most).astype(np.uint8), 3, axis=-1)
