"""What a pipeline of shapes can do: captions obeyed, and words that look where they should."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from shapes_tools.attention import SMALLEST_MAP, maps, watch
from shapes_tools.denoiser import sample
from shapes_tools.rule import Verdict, judge
from shapes_tools.scenes import SIDE, Scene
from shapes_tools.text import things_of_tokens

_TOGETHER = 50  # images sampled at once


@dataclass
class Measured:
    """Counts over many captions.

    Attributes:
        verdicts: One an image.
        hits: By layer, and ``all`` for the sum of the layers: words whose map is highest
            inside the thing that they describe.
        words: Words asked about: those whose thing is in the image.
        chance: Sum over those words of the part of the image that their thing covers.
    """

    verdicts: list[Verdict] = field(default_factory=list)
    hits: dict[str, int] = field(default_factory=dict)
    words: int = 0
    chance: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Shares between 0 and 1."""
        count, words = len(self.verdicts), max(self.words, 1)

        def share(name: str) -> float:
            return round(sum(bool(getattr(v, name)) for v in self.verdicts) / count, 4)

        names = ("right", "colours", "shapes", "relation", "background")
        layers = {name: round(hits / words, 4) for name, hits in self.hits.items()}
        return {
            "captions": count,
            **{name: share(name) for name in names},
            "pointing_game": {
                "words": self.words,
                "chance": round(self.chance / words, 4),
                "all layers": layers.pop("all", 0.0),
                **layers,
            },
        }


def measure(
    pipeline: Any,
    scenes: list[Scene],
    *,
    steps: int,
    guidance: float,
    seed: int,
    targets: list[list[NDArray[np.bool_] | None]] | None = None,
    report: Callable[[int], None] = lambda _: None,
) -> tuple[Measured, list[list[NDArray[np.bool_] | None]]]:
    """Samples each scene's caption, judges the images and plays the pointing game.

    Args:
        pipeline: unet, text_encoder, tokenizer, vae, scheduler.
        scenes: Whose captions to paint.
        steps: Of the scheduler.
        guidance: Classifier-free guidance.
        seed: Of the noise.
        targets: Masks to point at instead of those of the things in the images: an untrained
            network paints none.
        report: Told how many images are done.

    Returns:
        The counts, and for each scene the mask found for each thing.
    """
    measured, found = Measured(), []
    watched = watch(pipeline.unet)
    for start in range(0, len(scenes), _TOGETHER):
        some = scenes[start : start + _TOGETHER]
        summed: dict[str, torch.Tensor] = {}

        def add(_: int, summed: dict[str, torch.Tensor] = summed) -> None:
            for name, attention in maps(watched, SMALLEST_MAP).items():
                given = attention.chunk(2)[1]
                summed[name] = summed.get(name, 0) + given

        captions = [scene.caption for scene in some]
        images = sample(
            pipeline, captions, steps=steps, guidance=guidance, seed=seed + start, on_step=add
        ).numpy()
        verdicts = [judge(scene, image) for scene, image in zip(some, images, strict=True)]
        measured.verdicts += verdicts
        seen: list[list[NDArray[np.bool_] | None]] = [
            [thing.mask if thing else None for thing in verdict.things] for verdict in verdicts
        ]
        found += seen
        wanted = targets[start : start + len(some)] if targets else seen
        _point(measured, some, wanted, summed)
        report(start + len(some))
    return measured, found


def _point(
    measured: Measured,
    scenes: list[Scene],
    wanted: list[list[NDArray[np.bool_] | None]],
    summed: Mapping[str, torch.Tensor],
) -> None:
    """The pointing game (arXiv:1608.00507) for every word of every scene."""
    large = {
        name: interpolate(attention, size=(SIDE, SIDE), mode="bilinear")
        for name, attention in summed.items()
    }
    large["all"] = torch.stack(list(large.values())).sum(0)
    for row, (scene, things) in enumerate(zip(scenes, wanted, strict=True)):
        for token, thing in enumerate(things_of_tokens(scene)):
            mask = things[thing] if thing >= 0 else None
            if mask is None:
                continue
            measured.words += 1
            measured.chance += float(mask.mean())
            for name, attention in large.items():
                hit = bool(mask.flat[int(attention[row, token].argmax())])
                measured.hits[name] = measured.hits.get(name, 0) + hit
