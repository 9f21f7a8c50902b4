"""PyTorch's side of a search: reference tensors inside the UNet, each with its own floor."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import torch

from exporter.call import call
from exporter.parity.ask import precisions
from exporter.parity.locate.hooks import Call, hooked
from exporter.parity.locate.match import Reference
from exporter.torch_dtypes import TORCH_DTYPES
from exporter.types import Dtype


def collect(
    unet: torch.nn.Module,
    inputs: Mapping[str, torch.Tensor],
    dtype: Dtype,
    *,
    outputs: Collection[str],
    calls: Collection[str] | None = (),
) -> list[Reference]:
    """Run the UNet in two precisions and keep what was asked for.

    Only the reference run is kept; the other is compared with it as it goes, so memory holds
    the asked tensors once.

    Args:
        unet: The UNet, its weights rounded to the file's dtype.
        inputs: Graph inputs by name.
        dtype: Dtype of the file.
        outputs: Modules whose outputs are wanted.
        calls: Modules whose own torch calls are wanted as well.
    """
    kept: list[Call] = []
    floors: list[float] = []
    reference, other = precisions(dtype)
    with (
        reference,
        hooked(unet, lambda made: kept.append(_copy(made)), outputs=outputs, calls=calls),
    ):
        call(unet, inputs)
    remaining = iter(kept)

    def measure(made: Call) -> None:
        floors.append(_rms(made.tensor, next(remaining).tensor))

    with other, hooked(unet, measure, outputs=outputs, calls=calls):
        call(unet, inputs)
    eps = torch.finfo(TORCH_DTYPES[dtype]).eps
    found = []
    for made, floor in zip(kept, floors, strict=True):
        scale = eps * float(made.tensor.double().square().mean().sqrt())
        floor = max(floor, scale / 4) if math.isfinite(floor) else 4 * scale
        value = made.tensor.numpy()
        found.append(Reference(made.module, made.sources, made.operation, value, floor))
    return found


def _copy(made: Call) -> Call:
    kept = made.tensor.detach().to(device="cpu", dtype=torch.float32, copy=True).contiguous()
    return Call(made.module, made.sources, made.operation, kept)


def _rms(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a.cpu().double() - b.double()).square().mean().sqrt())
