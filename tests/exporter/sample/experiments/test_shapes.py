"""What an experiment finds on `shapes`: a colour's word is what colours its thing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from exporter.denoising.loop import denoise
from exporter.runtime.session import Array, open_session
from exporter.sample.decode import Decoder
from exporter.sample.experiments.edit import Feeds
from exporter.sample.experiments.plan import Ground, plan_experiment
from exporter.sample.experiments.wish import masked
from exporter.sample.instrument import instrument
from exporter.sample.model import read_model
from exporter.sample.pipeline import completed
from exporter.sample.plan import Plan, RecordRequest, make_plan
from exporter.shipped import shipped_folder
from shapes_tools.card import captions
from shapes_tools.rule import judge
from shapes_tools.scenes import Scene

PROMPTS = 40
SHARE = 0.8  # of the prompts


def test_masking_the_colour_changes_its_thing_more_than_the_rest(
    exported: Any, record_property: Any
):
    changes = np.array(list(colour_changes(exported("shapes"), PROMPTS)))
    share = (changes[:, 0] > changes[:, 1]).mean()
    record_property("share of prompts", f"{share:.0%} of {len(changes)}")
    ratio = np.median(changes[:, 0] / changes[:, 1])
    record_property("change of the thing over the rest", f"{ratio:.1f}")
    assert len(changes) >= PROMPTS / 4  # images that show the thing at all
    assert share >= SHARE


def colour_changes(path: Path, count: int) -> Iterator[tuple[float, float]]:
    """Mean change of the pixels of the thing whose colour is masked, and of all others.

    Prompts whose plain image does not show the thing, by the card's rule, or that have the
    colour twice, are passed over.
    """
    folder = shipped_folder("shapes")
    assert folder is not None
    decoder, model = Decoder(folder, 4), read_model(path)
    asked = RecordRequest(path, path, steps=10, guidance=3.0, provider="cpu")
    request = replace(completed(asked, model), vae=None)
    session = None
    for index, scene in enumerate(_single_coloured(count)):
        plan = make_plan(replace(request, prompt=scene.caption, seed=index), model)
        ground = Ground(plan.prompt, plan.rows, plan.loop.evaluations)
        planned = partial(plan_experiment, [masked(scene.things[0].colour)], ground)
        edited = instrument(path, measured="nothing", planned=planned)
        if session is None:  # the same edit for every prompt: what is fed differs
            session = open_session(edited.content, "cpu", weights_folder=edited.folder)
        wishes = edited.experiment.wishes
        plain, changed = (
            _image(session, plan, decoder, edited.experiment.fed(active))
            for active in ((), wishes)
        )
        thing = judge(scene, plain).things[0]
        if thing is not None:
            apart = np.abs(changed.astype(float) - plain).mean(-1)
            yield float(apart[thing.mask].mean()), float(apart[~thing.mask].mean())


def _single_coloured(count: int) -> list[Scene]:
    found = [
        s for s in captions(2 * count) if len({t.colour for t in s.things}) == len(s.things)
    ]
    return found[:count]


def _image(session: Any, plan: Plan, decoder: Decoder, feeds: Feeds) -> Array:
    def predict(inputs: Any) -> torch.Tensor:
        return torch.from_numpy(session.run({**inputs, **feeds})["out_sample"])

    *_, last = denoise(plan.loop, predict)
    return decoder(last.latents)
