"""The denoising loop: one latent image, any UNet, any scheduler, with or without guidance."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from exporter.sample.model import VAE_SCALE, Model
from exporter.sample.prompts import Prompt
from exporter.sample.schedulers import advance

Predict = Callable[[Mapping[str, torch.Tensor]], torch.Tensor]

_AESTHETIC = {"cond": 6.0, "uncond": 2.5}  # the refiner's scores, diffusers' defaults


@dataclass(frozen=True)
class Plan:
    """One run of the loop, everything decided.

    Attributes:
        model: What runs.
        scheduler: With timesteps set; every run works on a copy.
        rows: ``("uncond", "cond")`` under guidance, else ``("cond",)``.
        guidance: Guidance scale.
        height: Of the latents.
        width: Of the latents.
        prompt: The text.
        seed: Of the first latents and of the scheduler's noise.
    """

    model: Model
    scheduler: Any
    rows: tuple[str, ...]
    guidance: float
    height: int
    width: int
    prompt: Prompt
    seed: int

    @property
    def evaluations(self) -> int:
        """How often the UNet runs: for some schedulers more often than there are steps."""
        return len(self.scheduler.timesteps)


@dataclass(frozen=True)
class Step:
    """One evaluation of the UNet and what the scheduler made of it.

    Attributes:
        index: From 0.
        timestep: As the scheduler says it.
        latents: After the step, (1, C, H, W).
        clean: What the scheduler takes for the finished image, if it says.
    """

    index: int
    timestep: float
    latents: torch.Tensor
    clean: torch.Tensor | None


def first_latents(plan: Plan) -> tuple[torch.Tensor, torch.Generator]:
    """Seeded noise at the scheduler's first level, and the generator to go on with."""
    random = torch.Generator().manual_seed(plan.seed)
    shape = (1, plan.model.latent_channels, plan.height, plan.width)
    noise = torch.randn(shape, generator=random) * plan.scheduler.init_noise_sigma
    return noise, random


def denoise(plan: Plan, predict: Predict) -> Iterator[Step]:
    """Runs the loop, one ``Step`` at a time.

    Args:
        plan: What to do.
        predict: Inputs by name, one row for each of ``plan.rows``, to ``out_sample``.
    """
    latents, random = first_latents(plan)
    constant = conditions(plan)
    count = len(plan.rows)
    scheduler = copy.deepcopy(plan.scheduler)  # it keeps state from step to step
    for index, timestep in enumerate(scheduler.timesteps):
        scaled = scheduler.scale_model_input(latents, timestep)
        sample = torch.cat([scaled, *_extra_channels(plan)], dim=1).expand(count, -1, -1, -1)
        time = torch.as_tensor(timestep, dtype=torch.float32).reshape(1)
        predicted = predict({**constant, "sample": sample, "timestep": time})
        guided = predicted[-1:]
        if count == 2:
            guided = predicted[:1] + plan.guidance * (predicted[1:] - predicted[:1])
        guided = guided[:, : latents.shape[1]]
        latents, clean = advance(scheduler, guided, timestep, latents, random)
        yield Step(index, float(timestep), latents, clean)


def conditions(plan: Plan) -> dict[str, torch.Tensor]:
    """Every input that stays the same from step to step, by name."""
    made: dict[str, torch.Tensor] = {}
    if plan.prompt.states is not None:
        made["encoder_hidden_states"] = plan.prompt.states
    if plan.prompt.pooled is not None:
        made["text_embeds"] = plan.prompt.pooled
    for name in ("time_ids", "timestep_cond", "class_labels"):
        if name in plan.model.inputs:
            made[name] = torch.cat([_condition(plan, name, row) for row in plan.rows])
    return made


def _condition(plan: Plan, name: str, row: str) -> torch.Tensor:
    width = plan.model.width(name)
    if name == "time_ids":
        size = [float(plan.height * VAE_SCALE), float(plan.width * VAE_SCALE)]
        values = [*size, 0.0, 0.0, *size] if width == 6 else [*size, 0.0, 0.0, _AESTHETIC[row]]
        return torch.tensor([values])
    if name == "timestep_cond":
        return guidance_embedding(plan.guidance, int(width or 0))
    return torch.zeros(1) if width is None else torch.zeros(1, width)  # class 0


def guidance_embedding(guidance: float, width: int) -> torch.Tensor:
    """What a latent consistency model reads its guidance scale from: (1, width)."""
    from diffusers.models.embeddings import get_timestep_embedding

    scale = torch.tensor([(guidance - 1.0) * 1000.0])
    embedding: torch.Tensor = get_timestep_embedding(scale, width, downscale_freq_shift=1)
    return embedding


def _extra_channels(plan: Plan) -> list[torch.Tensor]:
    """Inpainting: everything masked, nothing known; other conditions: empty images."""
    missing = plan.model.channels - plan.model.latent_channels
    if missing <= 0:
        return []
    extra = torch.zeros(1, missing, plan.height, plan.width)
    if missing == plan.model.latent_channels + 1:
        extra[:, 0] = 1.0
    return [extra]
