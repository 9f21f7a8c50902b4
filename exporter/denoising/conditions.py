"""What a UNet is conditioned on besides latents and timestep, under diffusers' names."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

VAE_SCALE = 8  # image pixels per latent pixel, in every Stable Diffusion
AESTHETIC = {"cond": 6.0, "uncond": 2.5}
"""The refiner's scores for what is wanted and what is not, diffusers' defaults."""


def time_ids(
    count: int,
    original: tuple[float, float],
    crop: tuple[float, float] = (0.0, 0.0),
    target: tuple[float, float] | None = None,
    score: float = AESTHETIC["cond"],
) -> torch.Tensor:
    """SDXL's micro-conditioning, one row (https://arxiv.org/abs/2307.01952, section 2.2).

    Args:
        count: 6 for original size, crop and target size; 5 for the refiner, which reads a
            score in place of the target size. Any other length is cut or filled with zeros.
        original: Height and width of the image in pixels.
        crop: Top and left of the crop in pixels.
        target: Height and width of the crop in pixels; None for those of the image.
        score: Aesthetic score.

    Returns:
        (count,) float32.
    """
    last = [score] if count == 5 else [*(target or original)]
    values = [*original, *crop, *last, *[0.0] * count]
    return torch.tensor(values[:count])


def guidance_embedding(scales: torch.Tensor, width: int) -> torch.Tensor:
    """What a latent consistency model reads its guidance scale from.

    Args:
        scales: (B,) guidance scales.
        width: Channels of ``timestep_cond``.

    Returns:
        (B, width), as ``get_guidance_scale_embedding`` of diffusers' pipeline.
    """
    half = width // 2
    frequencies = torch.exp(torch.arange(half) * -(math.log(10_000.0) / max(half - 1, 1)))
    angles = 1000.0 * (scales[:, None] - 1.0) * frequencies
    rest = torch.zeros(len(scales), width - 2 * half)
    return torch.cat([angles.sin(), angles.cos(), rest], dim=1)


def text_embedding(shape: Sequence[int], random: torch.Generator) -> torch.Tensor:
    """Embeddings with the statistics of CLIP's last hidden state.

    That state has a standard deviation of about 1, two channels of the first token at about
    -28 and +33 (768 channels), and nearly equal rows after the end of the prompt.

    Args:
        shape: ``(B, S, C)``.
        random: Where the numbers come from.
    """
    batch, tokens, channels = shape
    shared = torch.randn(1, 1, channels, generator=random)
    own = torch.randn(batch, tokens, channels, generator=random)
    end = max(1, tokens // 3)
    own[:, end:] = own[:, end - 1 : end] + 0.1 * own[:, end:]
    states = 0.5 * shared + 0.87 * own
    scale = math.sqrt(channels / 768)
    states[:, 0] *= 0.3
    states[:, 0, channels // 6] = -28.0 * scale
    states[:, 0, -1 - channels // 17] = 33.0 * scale
    return states
