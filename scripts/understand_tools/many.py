"""One cut over many captions: how often a thing goes while the other one stays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from exporter.runtime.session import open_session
from exporter.sample.experiments.edit import Experiment
from exporter.sample.experiments.plan import Ground, plan_experiment
from exporter.sample.experiments.wish import Wish, masked
from exporter.sample.instrument import instrument
from exporter.sample.prompts import Prompt, Word
from shapes_tools.card import captions, load
from shapes_tools.denoiser import sample
from shapes_tools.folder import SHIPPED
from shapes_tools.rule import judge, see
from shapes_tools.scenes import Scene
from shapes_tools.text import LENGTH

END = "<|endoftext|>"
_LOOKED_THROUGH = 200  # captions, for two things that share no word
_GUIDANCE, _SEED = 3.0, 2  # of the card's images

Images = NDArray[np.uint8]  # (N, 48, 48, 3)
Wished = Callable[[Scene], tuple[Wish, ...]]


@dataclass(frozen=True)
class Gone:
    """Shares of the captions; in all but the last two the other thing is still there.

    Attributes:
        thing: The pixel rule does not find the thing: its colour or its shape is another.
        colour: Nothing of its colour is left.
        alone: Nothing but the other thing is left.
        other: The other thing is there.
        background: The background is as asked for.
    """

    thing: float
    colour: float
    alone: float
    other: float
    background: float


def words(place: str = "", steps: str = "", *, first: bool = False) -> Wished:
    """What says what the second thing is: its own words and all that stand behind it.

    Args:
        place: Of the mask: a module, or a head of one; everywhere unless told.
        steps: Such as ``11-``; all of them unless told.
        first: The first thing instead: all words but those of the second.
    """
    behind = (f"/{place}" if place else "") + (f"@{steps}" if steps else "")

    def wished(scene: Scene) -> tuple[Wish, ...]:
        if first:
            told = [word for word, thing in scene.words if thing != 1]
        else:
            told = [*scene.things[1].words, "on", scene.background]
        return tuple(masked(f"{word}{behind}") for word in dict.fromkeys([*told, END]))

    return wished


def own(scene: Scene) -> tuple[Wish, ...]:
    """The second thing's own words alone."""
    return tuple(masked(word) for word in scene.things[1].words)


def chosen(model: Path, count: int, steps: int) -> list[Scene]:
    """Captions that were not in training, of two things that share no word, painted right.

    Args:
        model: The exported ``shapes``.
        count: How many at most.
        steps: Of the scheduler.
    """
    apart = [scene for scene in captions(_LOOKED_THROUGH) if _two_apart(scene)]
    apart = apart[: -(-count * 5 // 4)]  # of which one in twenty to one in five is wrong
    images = paint(model, apart, lambda _: (), steps)
    pairs = zip(apart, images, strict=True)
    return [scene for scene, image in pairs if judge(scene, image).right][:count]


def _two_apart(scene: Scene) -> bool:
    if len(scene.things) != 2:
        return False
    one, other = scene.things
    return not set(one.words) & set(other.words)


def paint(model: Path, scenes: Sequence[Scene], wished: Wished, steps: int) -> Images:
    """Images of captions under one experiment, all at once.

    Args:
        model: The exported ``shapes``.
        scenes: Whose captions.
        wished: The experiment for a scene; only its words differ from scene to scene.
        steps: Of the scheduler.
    """
    states = torch.zeros(2, LENGTH, 1)  # of which the plan wants to know the size alone
    experiments: list[Experiment] = []
    for scene in scenes:
        prompt = Prompt("text_encoder", "", states, words=((), _words(scene)))
        ground = Ground(prompt, ("uncond", "cond"), steps)
        planned = partial(plan_experiment, wished(scene), ground)
        if not experiments:
            edited = instrument(model, measured="nothing", planned=planned)
        experiments.append(planned(edited.points))
    session = open_session(edited.content, "cpu", weights_folder=edited.folder)
    step = iter(range(steps))

    def unet(latents: Any, timestep: Any, states: Any) -> Any:
        inputs = {"sample": latents, "timestep": timestep, "encoder_hidden_states": states}
        out = session.run({**inputs, **_fed(experiments, next(step))})["out_sample"]
        return SimpleNamespace(sample=torch.from_numpy(out))

    parts = vars(load(SHIPPED))
    unet.config = parts["unet"].config  # type: ignore[attr-defined]
    pipeline = SimpleNamespace(**{**parts, "unet": unet})
    told = [scene.caption for scene in scenes]
    return sample(pipeline, told, steps=steps, guidance=_GUIDANCE, seed=_SEED).numpy()


def _words(scene: Scene) -> tuple[Word, ...]:
    """Every token of a caption, each a word; the beginning left out."""
    said = [word for word, _ in scene.words]
    said += [END] * (LENGTH - 1 - len(said))
    return tuple(Word(word, (index,)) for index, word in enumerate(said, 1))


def _fed(experiments: Sequence[Experiment], step: int) -> Mapping[str, torch.Tensor]:
    """What all of them are fed, unconditional rows first; what has no rows is the same."""
    fed = [experiment.feeds(step) for experiment in experiments]
    return {
        name: torch.cat([each[name][row : row + 1] for row in (0, 1) for each in fed])
        if first.ndim
        else first
        for name, first in fed[0].items()
    }


def gone(scenes: Sequence[Scene], images: Images, target: int) -> Gone:
    """What is left of one of two things.

    Args:
        scenes: What was asked for.
        images: What was painted.
        target: The thing that was cut, 0 or 1.
    """
    rows = []
    for scene, image in zip(scenes, images, strict=True):
        verdict, found = judge(scene, image), see(image)
        other = verdict.things[1 - target] is not None
        colour = scene.things[target].colour
        rows.append(
            (
                other and verdict.things[target] is None,
                other and all(thing.colour != colour for thing in found),
                other and len(found) == 1,
                other,
                verdict.background,
            )
        )
    return Gone(*(round(float(share), 3) for share in np.mean(rows, 0)))
