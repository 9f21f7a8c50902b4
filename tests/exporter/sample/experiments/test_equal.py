"""Every kind of experiment against the same one on diffusers' model, judged by its floor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from exporter.parity.ask import loaded, precisions
from exporter.parity.cases import ParityCase
from exporter.parity.inputs import make_inputs
from exporter.parity.metrics import measure_floor
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
from exporter.types import Dtype
from shapes_tools.card import load
from shapes_tools.folder import SHIPPED
from shapes_tools.text import encode
from tests.exporter.sample.experiments.hooks import answer, changed

CASE = ParityCase(2, 18, 12, 9, 321.0)
WORDS = tuple(Word(f"#{i}", (i,)) for i in range(9))
WORDS = (*WORDS[:3], Word("long", (3, 4)), *WORDS[5:7], Word("last", (7, 8)))
TEXT = Text(2, 9, WORDS)
LIMIT = 3.0  # noise floors
EPS = {"fp32": 2.0**-23, "fp16": 2.0**-10}
FELT: Mapping[Dtype, float] = {"fp32": 20 * LIMIT, "fp16": LIMIT}
"""How many floors a change is, at least."""
SLIGHT = {("fp16", "ff:mid_block=0"), ("fp16", "word:#2=0")}
"""Changes of `shapes` that fp16 rounds away: its middle block does next to nothing."""

WISHES = (
    *map(wishes.without, ("skip:3", "skip:0", "cross:all", "self:down_blocks")),
    *map(wishes.without, ("attn:up_blocks.1", "ff:mid_block", "transformer:all")),
    *map(wishes.without, ("resnet:down_blocks.1.resnets.0", "block:mid_block", "time:all")),
    *map(wishes.without, ("guidance:uncond", "guidance:cond", "block:up_blocks.1")),
    *map(wishes.scaled, ("skip:2=0.5", "time:down_blocks.0=0.5", "resnet:up_blocks=1.3")),
    *map(wishes.scaled, ("cross:up_blocks.1=2", "guidance:uncond=-0.5", "word:#5=3")),
    *map(wishes.masked, ("#2", "long", "last/up_blocks.1", "last/up_blocks#2")),
    wishes.scaled("word:#5/down_blocks.1=20"),
    wishes.without("head:up_blocks.1#2"),
    *map(wishes.swapped, ("#1,#6", "long,last")),
    wishes.freeu("0.9,0.2,1.5,1.6"),
)


@dataclass(frozen=True)
class Bench:
    """One exported UNet with all edits in it, and PyTorch's."""

    dtype: Dtype
    unet: torch.nn.Module
    fed: dict[str, torch.Tensor]
    experiment: Experiment
    session: Session

    def ours(self, *active: Wish) -> Array:
        return self.session.run({**self.fed, **self.experiment.fed(active)})["out_sample"]

    def theirs(self, wish: Wish | None) -> tuple[Array, Array]:
        """In the dtype of the file, and one precision higher."""
        as_it_is, otherwise = precisions(self.dtype)
        with as_it_is:
            first = answer(self.unet, self.fed, wish, TEXT).numpy()
        if self.dtype == "fp32":
            torch.set_default_dtype(torch.float64)  # of masks that are made and then filled
        try:
            with otherwise:
                second = answer(self.unet, self.fed, wish, TEXT).numpy()
        finally:
            torch.set_default_dtype(torch.float32)
        return (first, second) if self.dtype == "fp32" else (second, first)

    def floors(self, ours: Array, wish: Wish | None) -> float:
        """How many noise floors it is off."""
        floor = measure_floor(ours, *self.theirs(wish), EPS[self.dtype])
        assert floor is not None
        return max(floor.ratio, floor.max_ratio)


def planned(states: torch.Tensor, *wanted: Wish) -> Any:
    ground = Ground(
        Prompt("none", "", states, words=(WORDS, WORDS)), ("uncond", "cond"), evaluations=5
    )
    return partial(plan_experiment, wanted, ground)


@pytest.fixture(scope="module", params=["folded", "xl", "decomposed", "shapes", "shapes-half"])
def bench(
    request: Any, exported: Any, whole_pipeline: Path, whole_xl_pipeline: Path
) -> Iterator[Bench]:
    name, _, half = request.param.partition("-")
    model = {"xl": str(whole_xl_pipeline), "shapes": "shapes"}.get(name, str(whole_pipeline))
    dtype: Dtype = "fp16" if half else "fp32"
    how = {"decomposed": {"opset": 20}}.get(name, {"dtype": dtype} if half else {})
    path, source = exported(model, **how), load_source(model)
    fed = make_inputs(CASE, source, dtype)
    if name == "shapes":  # trained: a prompt means something
        fed["encoder_hidden_states"] = read_by_shapes().to(fed["sample"].dtype)
    edited = _edited(path, planned(fed["encoder_hidden_states"], *WISHES))
    session = open_session(edited.content, "cpu", weights_folder=edited.folder)
    with loaded(Subject(source, dtype)) as unet:
        yield Bench(dtype, unet, fed, edited.experiment, session)


def read_by_shapes() -> torch.Tensor:
    """No prompt and a prompt, (2, 9, 64)."""
    parts = load(SHIPPED)
    ids = encode(parts.tokenizer, ["", "a red circle left of a blue square on white"])
    with torch.inference_mode():
        states: torch.Tensor = parts.text_encoder(ids[:, : TEXT.tokens]).last_hidden_state
    return states


def _edited(path: Path, plan: Any) -> Instrumented:
    return instrument(path, measured="nothing", planned=plan)


@pytest.mark.parametrize("wish", WISHES, ids=str)
def test_it_equals_the_same_on_diffusers(bench: Bench, wish: Wish):
    ours, plain = bench.ours(wish), bench.ours()
    assert bench.floors(ours, wish) <= LIMIT
    if (bench.dtype, str(wish)) not in SLIGHT:
        assert bench.floors(plain, wish) > FELT[bench.dtype]  # it does change something


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
        told_apart = bench.floors(bench.ours(by_name[one]), by_name[other])
        assert told_apart > FELT[bench.dtype]
