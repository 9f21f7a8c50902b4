"""The autoencoder: images of 48x48 pixels to latents of 12x12 in four channels."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import diffusers
import numpy as np
import torch

from shapes_tools.scenes import draw, make_scene


def images(random: Random, count: int) -> torch.Tensor:
    """Images of random scenes, (count, 3, 48, 48) in -1 to 1."""
    pixels = np.stack([draw(make_scene(random)) for _ in range(count)])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1


def train_autoencoder(
    recipe: dict[str, Any], seed: int, report: Callable[[int, float], None]
) -> Any:
    """Trains an ``AutoencoderKL`` from nothing.

    Args:
        recipe: Its ``config``, ``steps``, ``batch``, ``learning_rate``, ``kl`` and
            ``thing_weight``: how much more a pixel of a thing counts than one of the background.
        seed: Of weights, scenes and noise.
        report: Told each step and its loss.

    Returns:
        The model; ``scaling_factor`` brings latents to a standard deviation of one.
    """
    torch.manual_seed(seed)
    random = Random(seed)
    vae: Any = diffusers.AutoencoderKL(**recipe["config"]).to(
        memory_format=torch.channels_last  # type: ignore[call-overload]
    )
    optimizer = torch.optim.AdamW(vae.parameters(), lr=recipe["learning_rate"])
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe["learning_rate"], total_steps=recipe["steps"], pct_start=0.05
    )
    for step in range(recipe["steps"]):
        batch = images(random, recipe["batch"]).to(memory_format=torch.channels_last)
        posterior = vae.encode(batch).latent_dist
        decoded = vae.decode(posterior.sample()).sample
        error = (decoded - batch).abs() * _weights(batch, recipe["thing_weight"])
        loss = error.mean() + recipe["kl"] * posterior.kl().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        report(step, loss.item())
    with torch.inference_mode():
        latents = vae.eval().encode(images(random, 256)).latent_dist.mode()
    vae.register_to_config(scaling_factor=round(1 / latents.std().item(), 5))
    return vae


def _weights(batch: torch.Tensor, thing: float) -> torch.Tensor:
    """1 where an image is its background, which its corner shows, else ``thing``."""
    apart = (batch - batch[:, :, :1, :1]).abs().amax(1, keepdim=True) > 0.1
    return torch.where(apart, thing, 1.0)
