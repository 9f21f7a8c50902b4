"""One sampled image with something cut, and what is left of its caption in it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from exporter.sample.experiments.wish import Wish
from exporter.sample.plan import RecordRequest
from exporter.sample.record import record
from shapes_tools.attention import SMALLEST_MAP
from shapes_tools.rule import Verdict, judge
from shapes_tools.scenes import Scene, Thing
from viewer.model.recording import Recording, read_recording
from viewer.replay.words import Choice, word_maps, words

SCENE = Scene(
    (
        Thing("red", "circle", "big", False, 12, 16, 9),
        Thing("blue", "square", "small", False, 36, 30, 6),
    ),
    "left of",
    "white",
)
"""What the caption asks for; where the things are drawn is the model's choice."""

TURNED = replace(SCENE, things=SCENE.things[::-1], relation="right of")
"""The same said the other way round: the red circle comes last."""


@dataclass(frozen=True)
class Sampled:
    """One run.

    Attributes:
        previews: The expected image after each step, (T, 48, 48, 3) uint8.
        maps: By word, where it is looked for: (12, 12), the mean over steps and over the
            layers in which a thing has a shape; nothing unless asked for.
        verdict: What the pixel rule finds of the caption.
        scene: What the caption asks for.
    """

    previews: NDArray[np.uint8]
    maps: dict[str, NDArray[Any]]
    verdict: Verdict
    scene: Scene

    @property
    def image(self) -> NDArray[np.uint8]:
        """The finished one, (48, 48, 3)."""
        last: NDArray[np.uint8] = self.previews[-1]
        return last

    @property
    def seen(self) -> str:
        """Such as ``red circle, no blue square, left of``."""
        pairs = zip(self.scene.things, self.verdict.things, strict=True)
        said = [f"{'' if f else 'no '}{t.colour} {t.shape}" for t, f in pairs]
        related = self.scene.relation
        related = related if self.verdict.relation else f"not {related}"
        return ", ".join([*said, related])


def sample(
    model: Path,
    folder: Path,
    wishes: tuple[Wish, ...] = (),
    steps: int = 20,
    *,
    maps: bool = False,
    scene: Scene = SCENE,
) -> Sampled:
    """Samples the caption once, with the seed and guidance of every other run.

    Args:
        model: The exported ``shapes``.
        folder: For the recording, which is removed again.
        wishes: The experiment; none is the plain run.
        steps: Of the scheduler.
        maps: Whether to keep where each word is looked for.
        scene: What is asked for.
    """
    target = folder / "run.safetensors"
    asked = RecordRequest(
        model, target, steps=steps, guidance=3.0, prompt=scene.caption, wishes=wishes
    )
    record(asked)
    with safe_open(target, "numpy") as file:
        previews = file.get_tensor("preview")
    found = _maps(read_recording(target)) if maps else {}
    target.unlink()
    return Sampled(previews, found, judge(scene, previews[-1]), scene)


def _maps(recording: Recording) -> dict[str, NDArray[Any]]:
    row = len(recording.rows) - 1
    said = words(recording, row)
    layers = tuple(
        index
        for index in range(len(recording.listed("attentions")))
        if recording.shapes[f"attention.map.{index}"][-1] >= SMALLEST_MAP
    )
    mean = np.mean(list(word_maps(recording, said, row, Choice(layers))), 0)
    return {word.text: heat for word, heat in zip(said, mean, strict=True)}


def changed(plain: Sampled, cut: Sampled) -> tuple[float, ...]:
    """How far pixels moved, 0 to 255 (rms): inside each thing of the plain image, and outside.

    Args:
        plain: The run to compare with; both its things were found.
        cut: The other run.
    """
    apart = np.square(plain.image.astype(float) - cut.image).mean(-1)
    masks = [found.mask for found in plain.verdict.things if found]
    masks.append(~np.logical_or.reduce(masks))
    return tuple(round(float(np.sqrt(apart[mask].mean())), 1) for mask in masks)
