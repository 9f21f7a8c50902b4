"""Realistic, seeded inputs for one case: noised latents, text-like embeddings.

A UNet is trained on latents that its scheduler has noised and on a text encoder's output.
White noise and standard normal embeddings exercise neither: they have no structure at low
frequencies and none of the outlier channels that decide whether fp16 overflows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from exporter.parity.cases import ParityCase
from exporter.types import TORCH_DTYPES, Dtype, InputSpec, Source

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

_VAE_SCALE = 8  # image pixels per latent pixel, for SDXL's time_ids


def schedule_of(source: Source) -> Mapping[str, Any]:
    """The noise schedule a model of this class is trained with, as scheduler config."""
    return LATENT_DIFFUSION if source.class_name == "UNet2DConditionModel" else DDPM


def make_inputs(case: ParityCase, source: Source, dtype: Dtype) -> dict[str, torch.Tensor]:
    """Every graph input of one case, by name.

    Args:
        case: Shapes, timestep and seed.
        source: What is fed and how large (``source.inputs``), and which schedule noised it.
        dtype: What inputs of the model's dtype are rounded to.

    Returns:
        Tensors in the shapes and dtypes that ``source.inputs`` names.
    """
    random = torch.Generator().manual_seed(case.seed * 1_000_003 + case.size)
    sizes = {"B": case.batch, "H": case.height, "W": case.width, "S": case.tokens}
    sizes["T"] = len(case.timesteps)
    made = {}
    for spec in source.inputs:
        shape = tuple(sizes[dim] if isinstance(dim, str) else dim for dim in spec.shape)
        tensor = _make(spec, shape, case, source, random)
        kind = TORCH_DTYPES[dtype] if spec.dtype == "model" else getattr(torch, spec.dtype)
        made[spec.name] = tensor.to(kind)
    return made


def _make(
    spec: InputSpec,
    shape: tuple[int, ...],
    case: ParityCase,
    source: Source,
    random: torch.Generator,
) -> torch.Tensor:
    if spec.name == "sample":
        return _sample(shape, case.timesteps, source, random)
    if spec.name == "timestep":
        return torch.tensor(case.timesteps).reshape(shape)
    if spec.name == "encoder_hidden_states":
        return text_embedding(shape, random)
    if spec.name == "time_ids":
        return _time_ids(shape, case)
    if spec.name == "timestep_cond":
        return _guidance_embedding(shape)
    if spec.dtype == "int64":  # class_labels that index an embedding table
        classes = source.config.get("num_class_embeds") or 1
        return torch.randint(0, classes, shape, generator=random)
    return torch.randn(shape, generator=random)  # text_embeds: a projection, about unit normal


def clean_latents(shape: Sequence[int], random: torch.Generator) -> torch.Tensor:
    """Latents of unit variance with a 1/f spectrum, as a VAE's scaled latents of a photograph.

    Args:
        shape: ``(B, C, H, W)``.
        random: Where the numbers come from.
    """
    batch, channels, height, width = shape
    rows = torch.fft.fftfreq(height)[:, None]
    columns = torch.fft.rfftfreq(width)[None, :]
    amplitude = 1 / (rows.square() + columns.square()).sqrt().clamp(min=1 / max(height, width))
    white = torch.randn(batch, channels, height, width, generator=random)
    pink = torch.fft.irfft2(torch.fft.rfft2(white) * amplitude, s=(height, width))
    spread = pink.std(dim=(1, 2, 3), keepdim=True, correction=0)
    latents: torch.Tensor = pink / spread.clamp(min=1e-6)
    return latents


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


def _sample(
    shape: tuple[int, ...],
    timesteps: Sequence[float],
    source: Source,
    random: torch.Generator,
) -> torch.Tensor:
    batch, channels, height, width = shape
    latents = min(int(source.config.get("out_channels") or channels), channels)
    clean = clean_latents((batch, latents, height, width), random)
    noise = torch.randn(clean.shape, generator=random)
    levels = [_signal(timestep, schedule_of(source)) for timestep in timesteps]
    signal = torch.stack(levels).reshape(-1, 1, 1, 1)
    parts = [signal.sqrt() * clean + (1 - signal).sqrt() * noise]
    if channels == 2 * latents + 1:  # inpainting: latents, mask, masked latents
        mask = torch.zeros(batch, 1, height, width)
        mask[..., height // 4 : height // 2 + 1, width // 4 : width // 2 + 1] = 1
        parts += [mask, clean_latents(clean.shape, random) * (1 - mask)]
    elif channels > latents:  # an image to edit, a depth map, ...
        parts.append(clean_latents((batch, channels - latents, height, width), random))
    return torch.cat(parts, dim=1)


def _signal(timestep: float, schedule: Mapping[str, Any]) -> torch.Tensor:
    """The share of signal left at a timestep, between the scheduler's own where fractional."""
    from diffusers import DDPMScheduler

    alphas = DDPMScheduler(**schedule).alphas_cumprod
    low = min(max(math.floor(timestep), 0), len(alphas) - 1)
    high = min(low + 1, len(alphas) - 1)
    signal: torch.Tensor = torch.lerp(
        alphas[low], alphas[high], timestep - math.floor(timestep)
    )
    return signal


def _time_ids(shape: tuple[int, ...], case: ParityCase) -> torch.Tensor:
    """SDXL's original size, crop and target size; the refiner's fifth is a score."""
    size = [float(case.height * _VAE_SCALE), float(case.width * _VAE_SCALE)]
    values = [*size, 0.0, 0.0, *size] if shape[-1] == 6 else [*size, 0.0, 0.0, 6.0]
    row = torch.tensor((values + [0.0] * shape[-1])[: shape[-1]])
    return row.expand(shape).clone()


def _guidance_embedding(shape: tuple[int, ...]) -> torch.Tensor:
    """The sinusoid that a latent consistency model reads its guidance scale (8.5) from."""
    half = shape[-1] // 2
    frequencies = torch.exp(torch.arange(half) * -(math.log(10_000.0) / max(half - 1, 1)))
    angles = 1000.0 * 7.5 * frequencies
    row = torch.cat([angles.sin(), angles.cos(), torch.zeros(shape[-1] - 2 * half)])
    return row.expand(shape).clone()
