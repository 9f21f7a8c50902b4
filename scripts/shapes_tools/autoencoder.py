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
        The model; its latents are white, so that ``scaling_factor`` is 1.
    """
    torch.manual_seed(seed)
    vae: Any = diffusers.AutoencoderKL(**recipe["config"])
    random = Random(seed)
    _train(vae, vae.parameters(), recipe, recipe["steps"], random, report)
    whiten(vae, images(random, 1024))
    return vae


@torch.no_grad()
def whiten(vae: Any, batch: torch.Tensor) -> None:
    """Makes latents uncorrelated, of mean 0 and standard deviation 1; decodes to the same.

    Left alone, two of the four channels hold the brightness of the background and the two
    that tell colours are a fifth as large: noise hides them first. The map and its inverse go
    into the 1x1 convolutions that end the encoder and begin the decoder.

    Args:
        vae: Changed in place.
        batch: Images, (N, 3, 48, 48).
    """
    latents = vae.eval().encode(batch).latent_dist.mode()
    places = latents.permute(0, 2, 3, 1).flatten(0, 2).double()
    mean, covariance = places.mean(0), torch.cov(places.T)
    values, vectors = torch.linalg.eigh(covariance)
    white = vectors @ values.rsqrt().diag() @ vectors.T
    count, before, after = len(mean), vae.quant_conv, vae.post_quant_conv
    weight, bias = before.weight[:, :, 0, 0].double(), before.bias.double()
    weight[:count], bias[:count] = white @ weight[:count], white @ (bias[:count] - mean)
    before.weight.copy_(weight[:, :, None, None])
    before.bias.copy_(bias)
    back = after.weight[:, :, 0, 0].double()
    after.bias.add_(back @ mean)
    after.weight.copy_((back @ white.inverse())[:, :, None, None])
    vae.register_to_config(scaling_factor=1.0)


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
