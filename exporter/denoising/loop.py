"""The denoising loop: any UNet, any scheduler, with or without guidance."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from exporter.denoising.schedulers import advance

Predict = Callable[[Mapping[str, torch.Tensor]], torch.Tensor]
"""Inputs by name to ``out_sample``."""


@dataclass(frozen=True)
class Loop:
    """One run of the loop, everything decided.

    Attributes:
        scheduler: With timesteps set; every run works on a copy.
        shape: Of the latents, (N, C, H, W) for N images.
        guidance: Scale of classifier-free guidance: the UNet is then given every image twice,
            the unconditional half first. None without.
        conditions: Inputs that stay the same from step to step, by name; their first axis is
            N, or 2N under guidance.
        extra: Channels behind the latents (a mask, an image to edit) that stay the same,
            (1 or N or 2N, E, H, W); None without.
        seed: Of the first latents and of the scheduler's noise.
    """

    scheduler: Any
    shape: tuple[int, int, int, int]
    guidance: float | None
    conditions: Mapping[str, torch.Tensor]
    extra: torch.Tensor | None
    seed: int

    @property
    def evaluations(self) -> int:
        """How often the UNet runs: for some schedulers more often than there are steps."""
        return len(self.scheduler.timesteps)

    def first_latents(self) -> tuple[torch.Tensor, torch.Generator]:
        """Seeded noise at the scheduler's first level, and the generator to go on with."""
        random = torch.Generator().manual_seed(self.seed)
        noise = torch.randn(self.shape, generator=random) * self.scheduler.init_noise_sigma
        return noise, random


@dataclass(frozen=True)
class Step:
    """One evaluation of the UNet and what the scheduler made of it.

    Attributes:
        index: From 0.
        timestep: As the scheduler says it.
        latents: After the step, (N, C, H, W).
        clean: What the scheduler takes for the finished image, if it says.
    """

    index: int
    timestep: float
    latents: torch.Tensor
    clean: torch.Tensor | None


def denoise(loop: Loop, predict: Predict) -> Iterator[Step]:
    """Runs the loop, one ``Step`` at a time.

    Args:
        loop: What to do.
        predict: Asked once for each timestep, with float32 ``sample`` and ``timestep`` (1,).
    """
    latents, random = loop.first_latents()
    scheduler = copy.deepcopy(loop.scheduler)  # it keeps state from step to step
    for index, timestep in enumerate(scheduler.timesteps):
        sample = _sample(loop, scheduler.scale_model_input(latents, timestep))
        time = torch.as_tensor(timestep, dtype=torch.float32).reshape(1)
        fed = {**loop.conditions, "sample": sample, "timestep": time}
        predicted = predict(fed).float().cpu()
        if loop.guidance is not None:
            without, wanted = predicted.chunk(2)
            predicted = without + loop.guidance * (wanted - without)
        predicted = predicted[:, : latents.shape[1]]
        latents, clean = advance(scheduler, predicted, timestep, latents, random)
        yield Step(index, float(timestep), latents, clean)


def _sample(loop: Loop, scaled: torch.Tensor) -> torch.Tensor:
    """The UNet's ``sample``: each image once or twice, with the extra channels behind it."""
    sample = scaled if loop.guidance is None else torch.cat([scaled, scaled])
    if loop.extra is None:
        return sample
    return torch.cat([sample, loop.extra.float().expand(len(sample), -1, -1, -1)], dim=1)
