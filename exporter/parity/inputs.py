"""Realistic, seeded inputs for one case: noised latents, text-like embeddings.

A UNet is trained on latents that its scheduler has noised and on a text encoder's output.
White noise and standard normal embeddings exercise neither: they have no structure at low
frequencies and none of the outlier channels that decide whether fp16 overflows.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from exporter.conditions.controlnet import OWN_COND, OWN_SCALE, SCALE
from exporter.conditions.ip_adapter import SCALE as STRENGTH
from exporter.conditions.ip_adapter import image_sizes
from exporter.conditions.lora import is_lora
from exporter.denoising.conditions import guidance_embedding, text_embedding, time_ids
from exporter.denoising.schedules import schedule_of
from exporter.inputs import with_halves
from exporter.parity.cases import ParityCase
from exporter.parity.conditions import conditions, contrasted
from exporter.torch_dtypes import TORCH_DTYPES
from exporter.types import Dtype, InputSpec, Source


def make_inputs(case: ParityCase, source: Source, dtype: Dtype) -> dict[str, torch.Tensor]:
    """Every graph input of one case, by name.

    Args:
        case: Shapes, timestep and seed.
        source: What is fed and how large (``source.inputs``), and which schedule noised it.
        dtype: What inputs of the model's dtype are rounded to.

    Returns:
        Tensors in the shapes and dtypes that ``source.inputs`` names.
    """
    name = case.name.encode()
    random = torch.Generator().manual_seed(case.seed * 1_000_003 + zlib.crc32(name))
    sizes = {"B": case.batch, "H": case.height, "W": case.width, "S": case.tokens}
    sizes["T"] = len(case.timesteps)
    sizes = with_halves(sizes) | image_sizes(source.inputs, 1 + case.batch % 2, 16)
    made = {}
    if case.lora:  # the rank of each module is another than its neighbour's
        symbols = {dim for spec in source.lora for dim in spec.shape if isinstance(dim, str)}
        sizes |= {dim: case.lora + int(dim.removeprefix("R")) % 2 for dim in symbols}
    for spec in (*source.inputs, *(source.lora if case.lora else ())):
        shape = tuple(sizes[dim] if isinstance(dim, str) else dim for dim in spec.shape)
        if is_lora(spec.name):
            tensor = _factor(spec, shape, random)
        else:
            tensor = _make(spec, shape, case, source, random)
        kind = TORCH_DTYPES[dtype] if spec.dtype == "model" else getattr(torch, spec.dtype)
        made[spec.name] = tensor.to(kind)
    return contrasted(made, conditions(source)) if case.contrast else made


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
        return torch.stack([_time_ids(shape[-1], random) for _ in range(shape[0])])
    if spec.name == "timestep_cond":
        scales = 1 + 14 * torch.rand(shape[0], generator=random)
        return guidance_embedding(scales, shape[-1])
    if spec.dtype == "int64":  # class_labels that index an embedding table: no two alike
        classes = int(source.config.get("num_class_embeds") or 1)
        first = torch.randint(0, classes, (1,), generator=random)
        return (first + torch.arange(shape[0])) % classes
    if spec.name.startswith((OWN_COND, "hint")):  # edges and depth maps are from 0 to 1
        return torch.rand(shape, generator=random)
    if spec.name.startswith((SCALE, OWN_SCALE, STRENGTH)):
        return 0.5 + torch.rand(shape, generator=random)
    # text_embeds and an image's embedding, projections, are about unit normal; a residual is
    # made as large as the skip
    return torch.randn(shape, generator=random)


def _factor(spec: InputSpec, shape: tuple[int, ...], random: torch.Generator) -> torch.Tensor:
    """A factor that keeps the size of what it multiplies; both together add half a layer."""
    if not shape:
        return torch.tensor(0.5)
    outer = shape[-1] if len(shape) == 2 else shape[0]
    fan_in = math.prod(shape) // max(outer, 1)
    return torch.randn(shape, generator=random) / math.sqrt(fan_in)


def _time_ids(count: int, random: torch.Generator) -> torch.Tensor:
    """Sizes, crops and a score, as of photographs: the numbers odd and no two alike."""
    height, width, top, left, tall, wide = (
        float(2 * number + 1) for number in torch.randperm(1024, generator=random)[:6].tolist()
    )
    score = 1 + 8 * float(torch.rand(1, generator=random))
    return time_ids(count, (height, width), (top, left), (tall, wide), score)


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
    levels = [_signal(timestep, schedule_of(source.class_name)) for timestep in timesteps]
    signal = torch.stack(levels).reshape(-1, 1, 1, 1)
    parts = [signal.sqrt() * clean + (1 - signal).sqrt() * noise]
    if channels == 2 * latents + 1:  # inpainting: latents, mask, masked latents
        mask = torch.cat([_mask(height, width, random) for _ in range(batch)])
        parts += [mask, clean_latents(clean.shape, random) * (1 - mask)]
    elif channels > latents:  # an image to edit, a depth map, ...
        parts.append(clean_latents((batch, channels - latents, height, width), random))
    return torch.cat(parts, dim=1)


def _mask(height: int, width: int, random: torch.Generator) -> torch.Tensor:
    """A disc somewhere, whose edge is three pixels soft: (1, 1, H, W) from 0 to 1."""
    top, left = (float(x) for x in 0.25 + 0.5 * torch.rand(2, generator=random))
    rows = torch.arange(height)[:, None] - top * (height - 1)
    columns = torch.arange(width)[None, :] - left * (width - 1)
    distance = (rows.square() + columns.square()).sqrt()
    return ((min(height, width) / 3 + 1.5 - distance) / 3).clamp(0, 1)[None, None]


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
