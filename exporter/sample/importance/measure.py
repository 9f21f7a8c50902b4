"""What one prompt's image loses with each part: in the image, in its words, at each step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from exporter.denoising.loop import denoise
from exporter.runtime.session import Array, Session
from exporter.sample.experiments.edit import Experiment
from exporter.sample.experiments.wish import Wish
from exporter.sample.instrument import OUT, Instrumented
from exporter.sample.layout import map_size
from exporter.sample.plan import Plan
from exporter.sample.points import Points

HALF = 0.5  # of the way from a word's least attention to its most: its region

Fed = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Baseline:
    """An image as it is made when nothing is switched off.

    Attributes:
        latents: The finished ones, (C, H, W).
        fed: What the UNet was fed at each step.
        predicted: The guided prediction at each step, (C, H, W).
        regions: Where each word of the prompt is looked for, (H, W) of booleans.
    """

    latents: Array
    fed: tuple[Fed, ...]
    predicted: tuple[Array, ...]
    regions: Mapping[str, Array]


@dataclass(frozen=True)
class Loss:
    """What a part was for, all as rms of the change over rms of what was.

    Attributes:
        image: Of the finished latents, the part being off at every step.
        prediction: Of the guided prediction at each step, the part being off at that one
            alone: the UNet is fed what it was fed before.
        words: Of the finished latents inside each word's region, and outside of it.
    """

    image: float
    prediction: tuple[float, ...]
    words: Mapping[str, tuple[float, float]] = field(default_factory=dict)


class Maps:
    """Attention of the prompt's row, summed over layers and steps at latent size."""

    def __init__(self, points: Points, plan: Plan) -> None:
        self._points, self._plan = points, plan
        self._sum: torch.Tensor | float = 0.0

    def add(self, outputs: Mapping[str, Array]) -> None:
        """One evaluation's maps."""
        size = self._plan.height, self._plan.width
        for index, attention in enumerate(self._points.attentions):
            maps = torch.from_numpy(outputs[f"watch.map.{index}"])[-1]
            maps = maps.reshape(1, len(maps), *map_size(*size, attention.level))
            self._sum = self._sum + torch.nn.functional.interpolate(
                maps, size, mode="bilinear"
            )

    def regions(self) -> dict[str, Array]:
        """(H, W) of booleans for every word but the special ones."""
        if not isinstance(self._sum, torch.Tensor) or not self._plan.prompt.words:
            return {}
        tokens: dict[str, list[int]] = {}
        for word in self._plan.prompt.words[-1]:
            if not word.text.startswith("<|"):
                tokens.setdefault(word.text, []).extend(word.tokens)
        found = {}
        for text, places in tokens.items():
            looked = self._sum[0, places].sum(0)
            low, high = looked.min(), looked.max()
            found[text] = (looked >= low + HALF * (high - low)).numpy()
        return found


def baseline(session: Session, edited: Instrumented, plan: Plan) -> Baseline:
    """Makes the image with no edit active, and looks where its words are."""
    fed: list[Fed] = []
    predicted: list[Array] = []
    maps, neutral = Maps(edited.points, plan), edited.experiment.fed(())

    def predict(inputs: Fed) -> torch.Tensor:
        outputs = session.run({**inputs, **neutral})
        maps.add(outputs)
        fed.append(dict(inputs))
        predicted.append(guided(outputs[OUT], plan))
        return torch.from_numpy(outputs[OUT])

    *_, last = denoise(plan.loop, predict)
    return Baseline(last.latents[0].numpy(), tuple(fed), tuple(predicted), maps.regions())


def measure(
    session: Session, experiment: Experiment, wish: Wish, before: Baseline, plan: Plan
) -> Loss:
    """Switches one part off: at each step alone, then at all of them.

    Args:
        session: Of the edited copy.
        experiment: Its edits.
        wish: The one to be active.
        before: The same image without.
        plan: How it is made.
    """
    changed = experiment.fed([wish])
    steps = []
    for inputs, was in zip(before.fed, before.predicted, strict=True):
        out = session.run({**inputs, **changed})[OUT]
        steps.append(relative(guided(out, plan) - was, was))

    def predict(inputs: Fed) -> torch.Tensor:
        return torch.from_numpy(session.run({**inputs, **changed})[OUT])

    *_, last = denoise(plan.loop, predict)
    apart = last.latents[0].numpy() - before.latents
    whole = _rms(before.latents)
    words = {
        word: (_rms(apart[:, region]) / whole, _rms(apart[:, ~region]) / whole)
        for word, region in before.regions.items()
    }
    return Loss(relative(apart, before.latents), tuple(steps), words)


def guided(out: Array, plan: Plan) -> Array:
    """The prediction that the scheduler gets, (C, H, W)."""
    channels = plan.model.latent_channels
    if len(out) < 2:
        return out[0, :channels]
    without, given = out[:, :channels]
    found: Array = without + plan.guidance * (given - without)
    return found


def relative(change: Array, of: Array) -> float:
    """One size over another, both rms."""
    return _rms(change) / max(_rms(of), 1e-12)


def _rms(values: Array) -> float:
    if not values.size:
        return 0.0
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))
