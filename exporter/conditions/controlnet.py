"""ControlNets in the same graph: an image and a strength for each are inputs.

A ``ControlNetModel`` (diffusers/models/controlnets/controlnet.py) reads what the UNet reads,
and an image; its zero-convolutions make what the UNet adds to skips and middle. Here each net
is a submodule ``controlnet_0``, ``controlnet_1``, ... of the UNet, so that whatever knows a
UNet's modules and weights knows the nets'. Off is a strength of 0: ``x + 0`` is ``x``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from exporter.conditions.residuals import MIDDLE, SKIPS, controlnet_inputs
from exporter.errors import UsageError
from exporter.types import InputSpec, Net, Source

if TYPE_CHECKING:
    import torch

CLASS = "ControlNetModel"
PREFIX = "controlnet_"
COND, SCALE = "controlnet_cond_", "controlnet_scale_"

OWN_COND, OWN_SCALE = "controlnet_cond", "conditioning_scale"
"""Image and strength of a net that is exported by itself, as ``forward`` calls them."""

OWN_SKIPS, OWN_MIDDLE = "down_block_res_samples", "mid_block_res_sample"
"""What it makes: the first are numbered as the UNet's ``SKIPS`` are."""

_SHARED = (
    "in_channels", "block_out_channels", "layers_per_block", "down_block_types",
    "cross_attention_dim", "addition_embed_type", "projection_class_embeddings_input_dim",
    "class_embed_type",
)  # fmt: skip
"""Settings in which a net is like the UNet that it was made from."""


def is_net(path: str) -> bool:
    """Whether a path is that of a net within a UNet, ``controlnet_0``."""
    return path.startswith(PREFIX) and path.removeprefix(PREFIX).isdigit()


def is_control(name: str) -> bool:
    """Whether an input is a net's image or strength."""
    return name.startswith((COND, SCALE))


def controlnet_specs(
    nets: tuple[Net, ...], *, guess_mode: bool = False
) -> tuple[InputSpec, ...]:
    """The image of each net, then the strength of each: in guess mode one for each sample.

    The image is as much larger than the latents as the net's embedding makes it smaller: eight
    times in every published net.
    """
    images = [_image(f"{COND}{index}", net.config) for index, net in enumerate(nets)]
    shape = ("B",) if guess_mode else ()
    return (*images, *(InputSpec(f"{SCALE}{index}", shape) for index in range(len(nets))))


def own_specs(config: Mapping[str, Any]) -> tuple[InputSpec, InputSpec]:
    """Image and strength of a net that is exported by itself."""
    return _image(OWN_COND, config), InputSpec(OWN_SCALE, ())


def own_outputs(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of its outputs: one for each skip of the UNet, and the middle's."""
    count = len(controlnet_inputs(config)) - 1
    return (*(f"{OWN_SKIPS}_{index}" for index in range(count)), OWN_MIDDLE)


def own_call(net: Any, arguments: Mapping[str, Any]) -> tuple[torch.Tensor, ...]:
    """Runs a net by itself; its results in the order of ``own_outputs``."""
    rest = {name: value for name, value in arguments.items() if name != "sample"}
    skips, middle = net(arguments["sample"], **rest, return_dict=False)
    return (*skips, middle)


def _image(name: str, config: Mapping[str, Any]) -> InputSpec:
    by = 2 ** (len(config["conditioning_embedding_out_channels"]) - 1)
    times = "" if by == 1 else str(by)
    channels = int(config["conditioning_channels"])
    return InputSpec(name, ("B", channels, f"{times}H", f"{times}W"))


def require_fit(net: Net, source: Source, *, guess_mode: bool = False) -> None:
    """Refuses a net that was made for another family of UNets.

    One that pools its residuals is run in guess mode by diffusers' pipelines, and here.

    Raises:
        UsageError: Names the first setting in which both differ.
    """
    if source.class_name != "UNet2DConditionModel":
        raise UsageError(f"--controlnet with a {source.class_name}", "a UNet2DConditionModel")
    if net.config.get("global_pool_conditions") and not guess_mode:
        raise UsageError(
            f"{net.name} pools its residuals",
            "a ControlNet with images as residuals",
            "add --guess-mode, as diffusers' pipelines do for it",
        )
    for key in _SHARED:
        own, wanted = _plain(net.config.get(key)), _plain(source.config.get(key))
        if key == "in_channels" and int(own) <= int(wanted):
            continue  # an inpainting UNet reads a mask and an image behind the latents
        if own != wanted:
            raise UsageError(
                f"{net.name} has {key} {own}",
                f"{wanted}, as {source.name} has",
                "use a ControlNet of this UNet's family",
            )


def controlled(
    unet: torch.nn.Module, tensors: Mapping[str, torch.Tensor], arguments: Mapping[str, Any]
) -> dict[str, Any]:
    """Runs the nets, and adds what they make to the residuals among ``arguments``.

    Args:
        unet: A UNet whose submodules the nets are.
        tensors: Inputs of the graph by name.
        arguments: What the UNet's ``forward`` would be given without nets.

    Returns:
        The residuals, as ``forward`` takes them; nothing without nets.
    """
    skips: list[torch.Tensor] = list(arguments.get(SKIPS, ()))
    middle = arguments.get(MIDDLE)
    index = 0
    own = {k: v for k, v in arguments.items() if "residual" not in k and k != "sample"}
    while f"{COND}{index}" in tensors:
        net: Any = unet.get_submodule(f"{PREFIX}{index}")
        scale = tensors[f"{SCALE}{index}"]
        made, last = net(
            arguments["sample"][:, : net.config.in_channels],
            controlnet_cond=tensors[f"{COND}{index}"],
            conditioning_scale=scale if scale.ndim == 0 else 1.0,
            return_dict=False,
            **own,
        )
        if scale.ndim:
            *made, last = _guessed((*made, last), scale, net.config.global_pool_conditions)
        skips = [a + b for a, b in zip(skips, made, strict=True)] if skips else list(made)
        middle = last if middle is None else middle + last
        index += 1
    return {SKIPS: skips, MIDDLE: middle} if index else {}


def _guessed(
    residuals: tuple[torch.Tensor, ...], scale: torch.Tensor, pooled: bool
) -> list[torch.Tensor]:
    """Guess mode as pipelines do it: a tenth at the first skip, the whole in the middle.

    There a net sees only the half with text, and the other half's residuals are zeros: here
    that half has a strength of 0.

    Args:
        residuals: At strength 1.
        scale: Of each sample, (B,).
        pooled: Whether they are pooled, (B, C, 1, 1): then all are as strong.
    """
    import torch  # here, so that the names of inputs can be had without it

    count = len(residuals)
    steps = [1.0] * count if pooled else torch.logspace(-1, 0, count).tolist()
    each = scale.reshape(-1, 1, 1, 1)
    return [one * (each * step) for one, step in zip(residuals, steps, strict=True)]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, list | tuple) else value
