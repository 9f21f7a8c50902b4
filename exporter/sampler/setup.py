"""One sampling run made concrete: the same seeded inputs for diffusers' loop and the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from exporter.denoising.conditions import guidance_embedding, text_embedding, time_ids
from exporter.denoising.loop import Loop
from exporter.denoising.schedulers import load_scheduler
from exporter.sampler.conditions import INPAINTING, PIPELINE_NAMES
from exporter.sampler.plan import SamplerPlan


@dataclass(frozen=True)
class Case:
    """One sampling run.

    Attributes:
        steps: ``num_inference_steps``.
        batch: Images.
        height: Of the latents.
        width: Of the latents.
        guidance: ``guidance_scale``; no guidance up to 1.
        tokens: Length of the text.
        seed: Of everything.
    """

    steps: int
    batch: int = 1
    height: int = 9
    width: int = 11
    guidance: float = 7.5
    tokens: int = 7
    seed: int = 0

    @property
    def name(self) -> str:
        """For people."""
        return (
            f"{self.steps} steps, {self.batch}x{self.height}x{self.width}, "
            f"guidance {self.guidance:g}"
        )


CASES = (
    Case(1),
    Case(2, batch=2, height=8, width=13, guidance=1.0),
    Case(4, batch=3, height=10, width=9),
)


@dataclass(frozen=True)
class Setup:
    """One case made concrete.

    Attributes:
        loop: diffusers' side.
        feeds: The sampler's inputs by name.
        guided: Whether there are two halves.
    """

    loop: Loop
    feeds: Mapping[str, torch.Tensor]
    guided: bool


def make_setup(plan: SamplerPlan, case: Case) -> Setup:
    """Seeded inputs for both sides."""
    scheduler = _scheduler(plan, case.steps)
    multiple = int(plan.contract.metadata.get("atlas.size_multiple", "1"))
    height, width = (-(-size // multiple) * multiple for size in (case.height, case.width))
    shape = (case.batch, plan.channels, height, width)
    random = torch.Generator().manual_seed(1_000 + case.seed)
    text = "encoder_hidden_states" in plan.contract.types
    embedded = "timestep_cond" in plan.contract.types
    guided = text and not embedded and case.guidance > 1
    made = {
        name: [_condition(plan, name, case, height, width, random) for _ in range(2)]
        for name in PIPELINE_NAMES
        if name in plan.contract.types
    }
    feeds = _named(made, twice=text and not embedded)
    conditions = {
        name: torch.cat([without, with_text]) if guided else with_text
        for name, (with_text, without) in made.items()
    }
    if embedded:
        conditions["timestep_cond"] = _embedded(plan, case)
    wide = int(plan.contract.shapes["sample"][1]) > plan.channels
    extra = {
        name: torch.randn(case.batch, size, height, width, generator=random)
        for name, size in (INPAINTING if wide else {}).items()
    }
    behind = torch.cat([*extra.values()], dim=1) if extra else None
    if behind is not None and guided:
        behind = torch.cat([behind, behind])
    loop = Loop(
        scheduler, shape, case.guidance if guided else None, conditions, behind, case.seed
    )
    drawn = torch.Generator().manual_seed(case.seed)
    latents = torch.randn(shape, generator=drawn)
    noise = [torch.randn(shape, generator=drawn) for _ in scheduler.timesteps]
    feeds = {
        **feeds,
        **extra,
        "latents": latents,
        "noise": torch.stack(noise),
        "num_inference_steps": torch.tensor(case.steps),
        "guidance_scale": torch.tensor(case.guidance),
        "guidance_rescale": torch.tensor(0.0),
    }
    return Setup(loop, feeds, guided)


def _scheduler(plan: SamplerPlan, steps: int) -> Any:
    """A fresh one: diffusers' keep state."""
    mine = plan.family.scheduler
    name = plan.contract.metadata.get("atlas.model.class", "UNet2DConditionModel")
    config = {k: v for k, v in mine.config.items() if not k.startswith("_")}
    return load_scheduler(type(mine).__name__, steps, class_name=name, config=config)


def _named(
    made: Mapping[str, Sequence[torch.Tensor]], *, twice: bool
) -> dict[str, torch.Tensor]:
    found = {}
    for name, (with_text, without) in made.items():
        own, other = PIPELINE_NAMES[name]
        found[own] = with_text
        if twice and other:
            found[other] = without
    return found


def _condition(
    plan: SamplerPlan, name: str, case: Case, height: int, width: int, random: torch.Generator
) -> torch.Tensor:
    sizes = {"B": case.batch, "S": case.tokens}
    axes = plan.contract.shapes[name]
    shape = tuple(
        axis
        if isinstance(axis, int) and axis
        else sizes.get(str(axis), case.batch if not i else case.tokens)
        for i, axis in enumerate(axes)
    )
    if name == "encoder_hidden_states":
        return text_embedding(shape, random)
    if name == "time_ids":
        size = (8.0 * height, 8.0 * width)
        return time_ids(shape[-1], size).expand(shape).clone()
    return torch.randn(shape, generator=random)


def _embedded(plan: SamplerPlan, case: Case) -> torch.Tensor:
    width = int(plan.contract.shapes["timestep_cond"][1])
    return guidance_embedding(torch.full((case.batch,), case.guidance), width)
