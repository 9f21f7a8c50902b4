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
from shapes_tools.rule import Verdict, judge
from shapes_tools.scenes import Scene, Thing

SCENE = Scene(
    (
        Thing("red", "circle", "big", False, 12, 16, 9),
        Thing("blue", "square", "small", False, 36, 30, 6),
    ),
    "left of",
    "white",
)
"""What the caption asks for; where the things are drawn is the model's choice."""


@dataclass(frozen=True)
class Sampled:
    """One run.

    Attributes:
        wishes: What was changed.
        previews: The expected image after each step, (T, 48, 48, 3) uint8.
        tensors: The other recorded tensors asked for, by name.
        metadata: Of the recording.
        verdict: What the pixel rule finds of the caption.
    """

    wishes: tuple[Wish, ...]
    previews: NDArray[np.uint8]
    tensors: dict[str, NDArray[Any]]
    metadata: dict[str, str]
    verdict: Verdict

    @property
    def image(self) -> NDArray[np.uint8]:
        """The finished one, (48, 48, 3)."""
        last: NDArray[np.uint8] = self.previews[-1]
        return last

    @property
    def seen(self) -> str:
        """Such as ``red circle, no blue square, left of``."""
        pairs = zip(SCENE.things, self.verdict.things, strict=True)
        said = [f"{'' if f else 'no '}{t.colour} {t.shape}" for t, f in pairs]
        related = SCENE.relation if self.verdict.relation else f"not {SCENE.relation}"
        return ", ".join([*said, related])


def sample(
    model: Path, folder: Path, wishes: tuple[Wish, ...] = (), steps: int = 20
) -> Sampled:
    """Samples the caption once, with the seed and guidance of every other run.

    Args:
        model: The exported ``shapes``.
        folder: For the recording, which is removed again.
        wishes: The experiment; none is the plain run.
        steps: Of the scheduler.
    """
    target = folder / "run.safetensors"
    request = RecordRequest(model, target, steps=steps, guidance=3.0, prompt=SCENE.caption)
    record(replace(request, wishes=wishes))
    with safe_open(target, "numpy") as file:
        names = sorted(filter(lambda name: name.startswith("attention.map."), file.keys()))
        tensors = {name: file.get_tensor(name) for name in names}
        previews, metadata = file.get_tensor("preview"), dict(file.metadata())
    target.unlink()
    return Sampled(wishes, previews, tensors, metadata, judge(SCENE, previews[-1]))


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
