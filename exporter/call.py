"""How diffusers' ``forward`` is called: by the trace and by the reference alike.

What is proven is what was traced only as long as both are fed, and cast, in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.utils import _pytree as pytree

from exporter.conditions.controlnet import CLASS, controlled, is_control, own_call
from exporter.conditions.ip_adapter import images_in, is_image_prompt, prompted
from exporter.conditions.lora import added, is_lora
from exporter.conditions.residuals import gathered, is_residual
from exporter.errors import UsageError

ADDED = ("text_embeds", "time_ids", "image_embeds", "hint")
"""Inputs that diffusers takes in ``added_cond_kwargs``."""


def call(unet: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Runs diffusers' forward on the graph's inputs.

    Args:
        unet: A diffusers UNet.
        tensors: By name of the graph's input, on any device.

    Returns:
        ``out_sample``, of the shape of the latents predicted; a ControlNet's first output.
    """
    return outputs_of(unet, tensors)[0]


def outputs_of(
    unet: torch.nn.Module, tensors: Mapping[str, torch.Tensor]
) -> tuple[torch.Tensor, ...]:
    """The same with all outputs, in the order of ``Source.outputs``: a ControlNet has many."""
    device = next(unet.parameters()).device
    moved = {k: v if v.device == device else v.to(device) for k, v in tensors.items()}
    special = (*ADDED, *(k for k in moved if _is_condition(k)))
    own = {k: v for k, v in moved.items() if k not in special}
    arguments: dict[str, Any] = {**own, **gathered(moved)}
    conditions = {k: v for k, v in moved.items() if k in ADDED}
    if conditions:
        arguments["added_cond_kwargs"] = conditions
    if type(unet).__name__ == CLASS:
        return own_call(unet, arguments)
    if unet.config.get("encoder_hid_dim_type") == "image_proj":  # type: ignore[union-attr, operator]
        arguments["encoder_hidden_states"] = None  # the image takes its place
    with added(unet, moved), prompted(unet, moved):
        arguments |= controlled(unet, moved, arguments)
        images = images_in(moved)  # for the UNet alone
        if images:
            arguments["added_cond_kwargs"] = {**conditions, **images}
        output: torch.Tensor = unet(**arguments, return_dict=False)[0]
    return (output,)


def _is_condition(name: str) -> bool:
    return any(known(name) for known in (is_residual, is_lora, is_control, is_image_prompt))


def keep_in_fp32(unet: torch.nn.Module, path: str, dtype: torch.dtype) -> torch.nn.Module:
    """Makes one module compute in float32 between casts of what enters and leaves it.

    Args:
        unet: A UNet in ``dtype``.
        path: The module's path.
        dtype: What is cast on entering, and to what it is cast back.

    Returns:
        The module. Parameters that were rounded to ``dtype`` stay so.

    Raises:
        UsageError: ``path`` names no module.
    """
    try:
        module = unet.get_submodule(path)
    except AttributeError as error:
        raise UsageError(f"--keep-fp32 {path}", "the path of a module") from error

    def enter(_: torch.nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
        return _cast(args, dtype, torch.float32), _cast(kwargs, dtype, torch.float32)

    def leave(_: torch.nn.Module, __: Any, output: Any) -> Any:
        return _cast(output, torch.float32, dtype)

    module.float()
    module.register_forward_pre_hook(enter, with_kwargs=True)
    module.register_forward_hook(leave)
    return module


def _cast(values: Any, old: torch.dtype, new: torch.dtype) -> Any:
    def one(value: Any) -> Any:
        moves = isinstance(value, torch.Tensor) and value.dtype == old
        return value.to(new) if moves else value

    return pytree.tree_map(one, values)
