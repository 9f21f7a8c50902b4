"""The noise schedules that UNets are trained with, as scheduler config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LATENT_DIFFUSION: Mapping[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
}
"""The schedule of Stable Diffusion 1, 2 and XL (``scheduler/scheduler_config.json`` there)."""

DDPM: Mapping[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "beta_schedule": "linear",
}
"""The schedule of unconditional pixel models (https://arxiv.org/abs/2006.11239, section 4)."""


def schedule_of(class_name: str) -> Mapping[str, Any]:
    """The noise schedule that a UNet of a diffusers class is trained with."""
    return DDPM if class_name == "UNet2DModel" else LATENT_DIFFUSION
