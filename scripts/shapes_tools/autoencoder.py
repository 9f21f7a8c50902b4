"""The autoencoder: images of 48x48 pixels to latents of 12x12 in four channels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import Any

import diffusers
import numpy as np
import torch

from shapes_tools.scenes import draw, make_scene

Report = Callable[[int, float], None]
"""Told a step's number and its loss."""


def images(random: Random, count: int) -> torch.Tensor:
    """Images of random scenes, (count, 3, 48, 48) in -1 to 1."""
    pixels = np.stack([draw(make_scene(random)) for _ in range(count)])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1


def train_autoencoder(recipe: dict[str, Any], seed: int, report: Report) -> Any:
    """Trains an ``AutoencoderKL`` from nothing.

    Args:
        recipe: Its ``config``, ``steps``, ``batch``, ``learning_rate``, ``kl`` and
            ``thing_weight``: how much more than the background's a thing's pixels count.
        seed: Of weights, scenes and noise.
        report: Told each step and its loss.

    Returns:
        The model; ``scaling_factor`` brings latents to a standard deviation of one.
    """
    torch.manual_seed(seed)
    vae: Any = diffusers.AutoencoderKL(**recipe["config"])
    random = Random(seed)
    _train(vae, vae.parameters(), recipe, recipe["steps"], random, report)
    with torch.inference_mode():
        latents = vae.eval().encode(images(random, 256)).latent_dist.mode()
    vae.register_to_config(scaling_factor=round(1 / latents.std().item(), 5))
    return vae


def sharpen(vae: Any, recipe: dict[str, Any], seed: int, report: Report) -> None:
    """Trains the decoder on: the latents, on which the UNet learns, stay what they are.

    Args:
        vae: Trained by ``train_autoencoder``; changed in place.
        recipe: As there, and ``sharpen_steps``.
        seed: Of scenes and noise.
        report: Told each step and its loss.
    """
    torch.manual_seed(seed)
    vae.requires_grad_(True)
    vae.encoder.requires_grad_(False)
    vae.quant_conv.requires_grad_(False)
    parameters = [p for p in vae.parameters() if p.requires_grad]
    _train(vae, parameters, recipe, recipe["sharpen_steps"], Random(seed), report)
    vae.eval().requires_grad_(False)


def _train(
    vae: Any,
    parameters: Iterable[torch.nn.Parameter],
    recipe: dict[str, Any],
    steps: int,
    random: Random,
    report: Report,
) -> None:
    vae.train().to(memory_format=torch.channels_last)
    parameters = list(parameters)
    optimizer = torch.optim.AdamW(parameters, lr=recipe["learning_rate"])
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe["learning_rate"], total_steps=steps, pct_start=0.05
    )
    for step in range(steps):
        batch = images(random, recipe["batch"]).to(memory_format=torch.channels_last)
        posterior = vae.encode(batch).latent_dist
        decoded = vae.decode(posterior.sample()).sample
        error = (decoded - batch).abs() * _weights(batch, recipe["thing_weight"])
        loss = error.mean() + recipe["kl"] * posterior.kl().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        report(step, loss.item())


def _weights(batch: torch.Tensor, thing: float) -> torch.Tensor:
    """1 where an image is its background, which its corner shows, else ``thing``."""
    apart = (batch - batch[:, :, :1, :1]).abs().amax(1, keepdim=True) > 0.1
    return torch.where(apart, thing, 1.0)
