"""Names, shapes and descriptions of what a recording holds; docs/RECORDING.md in code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch

from exporter.sample.instrument import Instrumented
from exporter.sample.plan import Plan
from exporter.sample.points import CrossAttention, Points
from exporter.sample.recording import FORMAT_VERSION

Tensors = dict[str, tuple[torch.dtype, tuple[int, ...]]]

PAIRS: Mapping[str, tuple[str, str]] = {
    "residual": ("branch", "trunk"),
    "injection": ("vector", "image"),
    "skip": ("skip", "trunk"),
}
"""Measurements of two values that meet: what arrives, and what it meets."""

MOMENTS = ("mean", "rms", "min", "max", "std")
F32 = torch.float32


def sampling_tensors(
    plan: Plan,
    watched: Instrumented,
    map_dtype: torch.dtype,
    *,
    preview: tuple[int, int] | None,
    clean: bool,
    compare: bool,
) -> Tensors:
    """Every tensor of a sampling, in file order; the first axis is the step.

    Args:
        plan: What will run.
        watched: What will be measured.
        map_dtype: Of the attention maps.
        preview: Height and width of decoded previews, if any.
        clean: Whether the scheduler says what image it believes in.
        compare: Whether the file as it is runs too.
    """
    steps, rows, points = plan.loop.evaluations, len(plan.rows), watched.points
    image = (plan.model.latent_channels, plan.height, plan.width)
    out = (int(plan.model.config.get("out_channels") or image[0]), plan.height, plan.width)
    tensors: Tensors = {
        "timestep": (F32, (steps,)),
        "seconds": (F32, (steps,)),
        "latents": (F32, (steps + 1, *image)),
        "out_sample": (F32, (steps, rows, *out)),
    }
    if clean:
        tensors["clean"] = (F32, (steps, *image))
    if compare:
        tensors["plain.seconds"] = (F32, (steps,))
        tensors["plain.max_abs"] = (F32, (steps,))
    if points.embedding is not None:
        tensors["temb"] = (F32, (steps, rows, points.embedding.width))
    for name, count in _scalars(points).items():
        if count:
            tensors[name] = (F32, (steps, rows, count))
    if watched.maps and plan.prompt.states is not None:
        tokens = plan.prompt.states.shape[1]
        for index, attention in enumerate(points.attentions):
            size = map_size(plan.height, plan.width, attention.level)
            tensors[f"attention.map.{index}"] = (map_dtype, (steps, rows, tokens, *size))
            if watched.heads:
                each = (steps, rows, attention.heads, tokens, *size)
                tensors[f"attention.heads.{index}"] = (map_dtype, each)
    tensors |= _selves(plan, watched, map_dtype)
    if preview is not None:
        tensors["preview"] = (torch.uint8, (steps, *preview, 3))
    return tensors


def _selves(plan: Plan, watched: Instrumented, dtype: torch.dtype) -> Tensors:
    found: Tensors = {}
    for index, attention in enumerate(watched.selves):
        size = map_size(plan.height, plan.width, attention.level)
        shape = (plan.loop.evaluations, len(plan.rows), places(plan, attention), *size)
        found[f"attention.self.{index}"] = (dtype, shape)
    return found


def _scalars(points: Points) -> dict[str, int]:
    counts = {
        "residual": len(points.residuals),
        "injection": len(points.injections),
        "skip": len(points.skips),
    }
    pairs = {f"{kind}.{part}": counts[kind] for kind in PAIRS for part in PAIRS[kind]}
    moments = {f"block.{part}": len(points.blocks) for part in MOMENTS}
    return {**moments, **pairs, "attention.entropy": len(points.attentions)}


def map_size(height: int, width: int, level: int) -> tuple[int, int]:
    """Height and width after a number of stride-2 convolutions."""
    step = 2**level
    return -(-height // step), -(-width // step)


def places(plan: Plan, attention: CrossAttention) -> int:
    """How many queries an attention has at the size of a run."""
    height, width = map_size(plan.height, plan.width, attention.level)
    return height * width


def describe_points(points: Points) -> dict[str, Any]:
    """What the last axis of each measurement stands for, as JSON values."""
    return {
        "blocks": [asdict(block) for block in points.blocks],
        "residuals": [asdict(residual) for residual in points.residuals],
        "injections": [asdict(injection) for injection in points.injections],
        "skips": [asdict(skip) for skip in points.skips],
        "attentions": [asdict(attention) for attention in points.attentions],
    }


def describe_run(plan: Plan, scheduler: str, steps: int, provider: str) -> dict[str, Any]:
    """How a sampling was made, as JSON values."""
    config = {k: v for k, v in dict(plan.scheduler.config).items() if not k.startswith("_")}
    return {
        "format": FORMAT_VERSION,
        "kind": "sampling",
        "model": {
            "name": plan.model.name,
            "class": plan.model.class_name,
            "file": plan.model.path.name,
            "weights": plan.model.weights,
        },
        "run": {
            "scheduler": scheduler,
            "scheduler_class": type(plan.scheduler).__name__,
            "scheduler_config": config,
            "steps": steps,
            "evaluations": plan.loop.evaluations,
            "guidance": plan.guidance if len(plan.rows) == 2 else None,
            "rows": list(plan.rows),
            "seed": plan.seed,
            "height": plan.height,
            "width": plan.width,
            "provider": provider,
        },
        "prompt": plan.prompt.to_json(),
    }
