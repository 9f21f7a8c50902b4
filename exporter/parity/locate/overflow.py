"""Which modules leave fp16's range, found by running PyTorch in float32."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from exporter.call import call
from exporter.parity.ask import loaded
from exporter.parity.locate.hooks import Call, hooked
from exporter.parity.subject import Subject
from exporter.paths import is_inside, parent
from exporter.types import Source

FP16_MAX = torch.finfo(torch.float16).max


def keep_in_fp32(source: Source, inputs: Mapping[str, torch.Tensor]) -> tuple[str, ...]:
    """The smallest list of modules that must stay in float32 on this input.

    A module is on it when one of its own calls returns, or is given, a number that fp16 cannot
    hold, or when one of its parameters is such a number. Where a module and its parent are
    both concerned the parent stands for both.

    Args:
        source: The UNet; run in float32 on its stored weights.
        inputs: Graph inputs by name.
    """
    found: dict[str, None] = {}

    def note(made: Call) -> None:
        if any(_overflows(tensor) for tensor in (made.tensor, *made.operands)):
            found[made.module] = None

    with loaded(Subject(source)) as unet:
        for name, parameter in unet.named_parameters():
            if _overflows(parameter):
                found[parent(name)] = None
        with hooked(unet, note, calls=None):
            call(unet, {name: tensor.to(_wide(tensor)) for name, tensor in inputs.items()})
    return tuple(
        path
        for path in found
        if not any(path != other and is_inside(path, other) for other in found)
    )


def _overflows(tensor: torch.Tensor) -> bool:
    return bool(tensor.numel()) and not float(tensor.abs().max()) <= FP16_MAX


def _wide(tensor: torch.Tensor) -> torch.dtype:
    return torch.float32 if tensor.is_floating_point() else tensor.dtype
