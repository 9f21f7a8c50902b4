"""PyTorch's side of a search: reference tensors inside the UNet, each with its own floor."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import torch

from exporter.call import call
from exporter.parity.locate.match import Point
from exporter.parity.locate.record import Heard, listening
from exporter.parity.reference import precisions
from exporter.types import TORCH_DTYPES, Dtype


def points(
    unet: torch.nn.Module,
    inputs: Mapping[str, torch.Tensor],
    dtype: Dtype,
    *,
    outputs: Collection[str],
    calls: Collection[str] | None = (),
) -> list[Point]:
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
    kept: list[Heard] = []
    floors: list[float] = []
    reference, other = precisions(dtype)
    with (
        reference,
        listening(unet, lambda h: kept.append(_copy(h)), outputs=outputs, calls=calls),
    ):
        call(unet, inputs)
    remaining = iter(kept)

    def measure(heard: Heard) -> None:
        floors.append(_rms(heard.tensor, next(remaining).tensor))

    with other, listening(unet, measure, outputs=outputs, calls=calls):
        call(unet, inputs)
    eps = torch.finfo(TORCH_DTYPES[dtype]).eps
    found = []
    for heard, floor in zip(kept, floors, strict=True):
        scale = eps * float(heard.tensor.double().square().mean().sqrt())
        floor = max(floor, scale / 4) if math.isfinite(floor) else 4 * scale
        value = heard.tensor.numpy()
        point = Point(heard.module, heard.sources, heard.operation, value, floor)
        found.append(point)
    return found


def _copy(heard: Heard) -> Heard:
    kept = heard.tensor.detach().to(device="cpu", dtype=torch.float32, copy=True).contiguous()
    return Heard(heard.module, heard.sources, heard.operation, kept)


def _rms(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a.cpu().double() - b.double()).square().mean().sqrt())
