"""Residuals that a ControlNet or a T2I-Adapter computes and the UNet adds.

``UNet2DConditionModel.forward`` (diffusers/models/unets/unet_2d_condition.py) adds a
ControlNet's residuals to every skip and to the middle, an adapter's inside the down blocks.
Each residual is a graph input of its own. Off is a tensor of zeros: ``x + 0`` is ``x``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from exporter.errors import UsageError
from exporter.types import Condition, InputSpec, Source

if TYPE_CHECKING:
    import torch

SKIPS = "down_block_additional_residuals"
MIDDLE = "mid_block_additional_residual"
BLOCKS = "down_intrablock_additional_residuals"

_PLAIN = ("DownBlock2D", "CrossAttnDownBlock2D")
"""Down blocks whose skips have shapes that the config gives, and that take an adapter."""


def controlnet_inputs(config: Mapping[str, Any]) -> tuple[InputSpec, ...]:
    """One residual for each skip, in the order in which skips are made, and the middle's.

    Args:
        config: Of a ``UNet2DConditionModel`` with plain down blocks.
    """
    channels = config["block_out_channels"]
    shapes = [_image(channels[0], 0)]
    for level, width in enumerate(channels):
        shapes += [_image(width, level)] * _layers(config, level)
        if level < len(channels) - 1:
            shapes.append(_image(width, level + 1))
    middle = InputSpec(MIDDLE, _image(channels[-1], len(channels) - 1))
    skips = (InputSpec(f"{SKIPS}_{index}", shape) for index, shape in enumerate(shapes))
    return (*skips, middle)


def adapter_inputs(config: Mapping[str, Any]) -> tuple[InputSpec, ...]:
    """One residual for each down block; for SDXL, whose last one attends, the middle's too.

    A block with attention takes it before it downsamples, one without afterwards. The four
    features of SDXL's T2I-Adapter are three down blocks' and the middle's; the four of Stable
    Diffusion 1's are its four down blocks'.

    Args:
        config: Of a ``UNet2DConditionModel`` with plain down blocks.
    """
    channels, last = config["block_out_channels"], len(config["block_out_channels"]) - 1
    attends = [kind.startswith("CrossAttn") for kind in config["down_block_types"]]
    shapes = [
        _image(width, level if attends[level] or level == last else level + 1)
        for level, width in enumerate(channels)
    ]
    if attends[-1]:
        shapes.append(_image(channels[-1], last))
    return tuple(InputSpec(f"{BLOCKS}_{index}", shape) for index, shape in enumerate(shapes))


INPUTS: Mapping[Condition, Callable[[Mapping[str, Any]], tuple[InputSpec, ...]]] = {
    "controlnet": controlnet_inputs,
    "adapter": adapter_inputs,
}


def with_conditions(source: Source, wanted: Collection[Condition]) -> Source:
    """The same UNet with the inputs of some conditions behind its own.

    Raises:
        UsageError: The UNet has no place for them.
    """
    for condition in wanted:
        option = f"--{condition}-inputs"
        if source.class_name != "UNet2DConditionModel":
            raise UsageError(f"{option} with a {source.class_name}", "a UNet2DConditionModel")
        other = set(source.config["down_block_types"]) - set(_PLAIN)
        if other:
            raise UsageError(f"{option} with {min(other)}", " and ".join(_PLAIN))
        if source.config["mid_block_type"] is None:
            raise UsageError(f"{option} with a UNet that has no middle block")
    added = (spec for c in INPUTS if c in wanted for spec in INPUTS[c](source.config))
    return replace(source, inputs=(*source.inputs, *added))


def conditions_in(names: Collection[str]) -> tuple[Condition, ...]:
    """Which conditions a file takes, told by the names of its inputs."""
    firsts: Mapping[Condition, str] = {"controlnet": MIDDLE, "adapter": f"{BLOCKS}_0"}
    return tuple(condition for condition, first in firsts.items() if first in names)


def is_residual(name: str) -> bool:
    """Whether an input is one of these."""
    return name.startswith((SKIPS, MIDDLE, BLOCKS))


def gathered(tensors: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """Residuals by input name -> what ``forward`` takes: two sequences and a tensor."""
    arguments: dict[str, Any] = {}
    for key in (SKIPS, BLOCKS):
        several = list(_numbered(tensors, key))
        if several:
            arguments[key] = several  # a list: forward pops an adapter's
    if MIDDLE in tensors:
        arguments[MIDDLE] = tensors[MIDDLE]
    return arguments


def _numbered(tensors: Mapping[str, torch.Tensor], key: str) -> Iterator[torch.Tensor]:
    index = 0
    while (name := f"{key}_{index}") in tensors:
        yield tensors[name]
        index += 1


def _layers(config: Mapping[str, Any], level: int) -> int:
    layers = config["layers_per_block"]
    return int(layers if isinstance(layers, int) else layers[level])


def _image(channels: int, level: int) -> tuple[int | str, ...]:
    by = f"/{2**level}" if level else ""
    return ("B", channels, f"H{by}", f"W{by}")
