"""The conditions of a UNet: what one sample of a batch can differ in from another."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from exporter.conditions.controlnet import OWN_COND
from exporter.conditions.ip_adapter import EMBEDS
from exporter.types import Source

_IDS = {
    6: (("original size", 0, 2), ("crop", 2, 4), ("target size", 4, 6)),
    5: (("original size", 0, 2), ("crop", 2, 4), ("score", 4, 5)),
}


@dataclass(frozen=True)
class Condition:
    """One thing that the prediction depends on besides the latents.

    Attributes:
        name: What people call it.
        input: The graph input that carries it.
        start: The first channel of that input that belongs to it.
        stop: One past the last; None for all the rest.
    """

    name: str
    input: str
    start: int = 0
    stop: int | None = None


def conditions(source: Source) -> tuple[Condition, ...]:
    """Every condition of a UNet; the time comes first."""
    found = [Condition("time", "timestep")]
    for spec in source.inputs:
        width = spec.shape[-1] if spec.shape else 0
        if spec.name == "sample":
            channels = int(spec.shape[1])
            latents = int(source.config.get("out_channels") or channels)
            if channels == 2 * latents + 1:
                found.append(Condition("mask", "sample", latents, latents + 1))
                found.append(Condition("masked image", "sample", latents + 1))
            elif channels > latents:
                found.append(Condition("image", "sample", latents))
        elif spec.name == "time_ids":
            parts = _IDS.get(int(width), (("sizes", 0, int(width)),))
            found += [Condition(name, spec.name, low, high) for name, low, high in parts]
        elif spec.name.startswith(OWN_COND):
            number = spec.name.removeprefix(OWN_COND).replace("_", " ")
            found.append(Condition(f"control image{number}", spec.name))
        elif spec.name.startswith(EMBEDS):
            number = spec.name.removeprefix(EMBEDS)
            found.append(Condition(f"image prompt {number}", spec.name))
        elif spec.name in _NAMES:
            found.append(Condition(_NAMES[spec.name], spec.name))
    return tuple(found)


_NAMES = {
    "encoder_hidden_states": "text",
    "text_embeds": "pooled text",
    "timestep_cond": "guidance",
    "image_embeds": "image embedding",
    "hint": "hint",
    "class_labels": "class",
}


def contrasted(
    inputs: dict[str, torch.Tensor], wanted: tuple[Condition, ...]
) -> dict[str, torch.Tensor]:
    """Inputs whose samples are all the first one, but for one condition each.

    Args:
        inputs: A batch of samples that differ in everything.
        wanted: Sample 1 keeps the first of these conditions, sample 2 the second, ...
    """
    found = {
        name: tensor
        if name == "timestep" or not tensor.ndim
        else tensor[:1].expand_as(tensor).clone()
        for name, tensor in inputs.items()
    }
    for index, condition in enumerate(wanted, start=1):
        if condition.input != "timestep" and index < len(inputs["sample"]):
            own = inputs[condition.input][index]
            target = found[condition.input][index]
            if own.ndim:
                part = slice(condition.start, condition.stop)
                target[part] = own[part]
            else:  # a class label
                found[condition.input][index] = own
    return found
