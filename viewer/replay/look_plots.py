"""A figure of where a pixel looks: layers downwards, steps to the right."""

from __future__ import annotations

import numpy as np
from matplotlib import rc_context
from PIL import Image

from viewer.model.recording import Recording, short
from viewer.replay.drawing import STYLE, drawn, mosaic, picture, titled
from viewer.replay.looks import Pixel, layers, looks
from viewer.replay.scales import fitted

_TILE, _GAP, _STEPS = 72, 4, 8


def look_figure(recording: Recording, pixel: Pixel) -> Image.Image:
    """Every recorded self-attention at up to eight steps; each map scaled by itself.

    Raises:
        RecordingError: See ``looks``.
    """
    shown = {*np.linspace(0, recording.steps - 1, _STEPS).round().astype(int).tolist()}
    found = [
        maps
        for step, maps in enumerate(looks(recording, pixel, len(recording.rows) - 1))
        if step in shown
    ]
    listed, names = recording.listed("selves"), []
    for index, one in zip(layers(recording), found[0], strict=True):
        name = short(str(listed[index].get("module", ""))).removesuffix(" attn1")
        names.append(f"{name}\n{one.shape[0]} x {one.shape[1]}")
    tiles = [fitted(one).colours(one) for layer in zip(*found, strict=True) for one in layer]
    title = f"Where place {pixel.y},{pixel.x} of the latents looks: self-attention"
    note = "mean over heads; each map from its own least to its most"
    with rc_context(STYLE):
        pixels = mosaic(tiles, len(found), _TILE, _GAP)
        figure = titled(recording, title, 2.4, 1.3, note, pixels=pixels)
        panel = picture(figure, pixels)
        middle = (_TILE + _GAP) * np.arange(max(len(found), len(names))) + _TILE / 2
        panel.set_xticks(middle[: len(found)], [f"step {step + 1}" for step in sorted(shown)])
        panel.set_yticks(middle[: len(names)], names)
        panel.tick_params(
            top=False, labeltop=True, bottom=False, labelbottom=False, left=False
        )
        return drawn(figure)
