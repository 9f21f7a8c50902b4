"""Every kind of experiment against the same one on diffusers' model, judged by its floor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from exporter.parity.ask import loaded
from exporter.parity.cases import ParityCase
from exporter.parity.inputs import make_inputs
from exporter.parity.metrics import measure_floor
from exporter.parity.precision import ComputeIn
from exporter.parity.subject import Subject
from exporter.runtime.session import Array, Session, open_session
from exporter.sample.experiments import wish as wishes
from exporter.sample.experiments.edit import Experiment
from exporter.sample.experiments.plan import Ground, plan_experiment
from exporter.sample.experiments.wish import Wish
from exporter.sample.experiments.words import Text
from exporter.sample.instrument import Instrumented, instrument
from exporter.sample.prompts import Prompt, Word
from exporter.source import load_source
from tests.exporter.sample.experiments.hooks import answer, changed

CASE = ParityCase(2, 18, 12, 9, 321.0)
WORDS = tuple(Word(f"#{i}", (i,)) for i in range(9))
WORDS = (*WORDS[:3], Word("long", (3, 4)), *WORDS[5:7], Word("last", (7, 8)))
TEXT = Text(2, 9, WORDS)
LIMIT = 3.0  # noise floors

WISHES = (
    *map(wishes.without, ("skip:3", "skip:0", "cross:all", "self:down_blocks")),
    *map(wishes.without, ("attn:up_blocks.1", "ff:mid_block", "transformer:all")),
    *map(wishes.without, ("resnet:down_blocks.1.resnets.0", "block:mid_block", "time:all")),
    *map(wishes.without, ("guidance:uncond", "guidance:cond", "block:up_blocks.1")),
    *map(wishes.scaled, ("skip:2=0.5", "time:down_blocks.0=0.5", "resnet:up_blocks=1.3")),
    *map(wishes.scaled, ("cross:up_blocks.1=2", "guidance:uncond=-0.5", "word:#5=3")),
    *map(wishes.masked, ("#2", "long")),
    wishes.without("head:up_blocks.1#2"),
    *map(wishes.swapped, ("#1,#6", "long,last")),
    wishes.freeu("0.9,0.2,1.5,1.6"),
)


@dataclass(frozen=True)
class Bench:
    """One exported UNet with all edits in it, and PyTorch's."""

    unet: torch.nn.Module
    fed: dict[str, torch.Tensor]
    experiment: Experiment
    session: Session

    def ours(self, *active: Wish) -> Array:
        return self.session.run({**self.fed, **self.experiment.fed(active)})["out_sample"]

    def theirs(self, wish: Wish | None) -> tuple[Array, Array]:
        """In float32 and in float64."""
        native = answer(self.unet, self.fed, wish, TEXT).numpy()
        torch.set_default_dtype(torch.float64)  # of masks that are made and then filled
        try:
            with ComputeIn(torch.float64):
                return native, answer(self.unet, self.fed, wish, TEXT).numpy()
        finally:
            torch.set_default_dtype(torch.float32)

    def floors(self, ours: Array, wish: Wish | None) -> float:
        """How many noise floors it is off."""
        floor = measure_floor(ours, *self.theirs(wish), torch.finfo(torch.float32).eps)
        assert floor is not None
        return max(floor.ratio, floor.max_ratio)


def planned(states: torch.Tensor, *wanted: Wish) -> Any:
    ground = Ground(
        Prompt("none", "", states, words=(WORDS, WORDS)), ("uncond", "cond"), evaluations=5
    )
    return partial(plan_experiment, wanted, ground)


@pytest.fixture(scope="module", params=["folded", "xl", "decomposed"])
def bench(
    request: Any, exported: Any, whole_pipeline: Path, whole_xl_pipeline: Path
) -> Iterator[Bench]:
    model = str(whole_xl_pipeline if request.param == "xl" else whole_pipeline)
    path = exported(model, **({"opset": 20} if request.param == "decomposed" else {}))
    source = load_source(model)
    fed = make_inputs(CASE, source, "fp32")
    edited = _edited(path, planned(fed["encoder_hidden_states"], *WISHES))
    session = open_session(edited.content, "cpu", weights_folder=edited.folder)
    with loaded(Subject(source)) as unet:
        yield Bench(unet, fed, edited.experiment, session)


def _edited(path: Path, plan: Any) -> Instrumented:
    return instrument(path, measured="nothing", planned=plan)


@pytest.mark.parametrize("wish", WISHES, ids=str)
def test_it_equals_the_same_on_diffusers(bench: Bench, wish: Wish):
    ours, plain = bench.ours(wish), bench.ours()
    assert bench.floors(ours, wish) <= LIMIT
    assert bench.floors(plain, wish) > 20 * LIMIT  # it does change something


def test_none_active_is_the_model_as_it_is(bench: Bench):
    assert bench.floors(bench.ours(), None) <= LIMIT


def test_two_at_once(bench: Bench):
    one, other = WISHES[0], next(wish for wish in WISHES if wish.kind == "swap")
    both = bench.ours(one, other)
    assert min(bench.floors(both, one), bench.floors(both, other)) > LIMIT
    with changed(bench.unet, other, TEXT):
        assert bench.floors(both, one) <= LIMIT


def test_another_place_is_told_apart(bench: Bench):
    """What a mistaken edit would look like: the neighbour of what was asked for."""
    by_name = {str(wish): wish for wish in WISHES}
    for one, other in (("skip:3=0", "skip:0=0"), ("guidance:uncond=0", "guidance:cond=0")):
        assert bench.floors(bench.ours(by_name[one]), by_name[other]) > 20 * LIMIT
