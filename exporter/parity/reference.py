"""PyTorch's answers, the noise floor's ingredients included, before ONNX Runtime is opened."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from exporter.parity.cases import ParityCase
from exporter.parity.inputs import make_inputs
from exporter.parity.memory import give_back
from exporter.parity.metrics import Array
from exporter.parity.precision import ComputeIn
from exporter.parity.providers import without_tf32
from exporter.types import TORCH_DTYPES, Dtype, Source
from exporter.weights.unet import load_unet

ADDED = ("text_embeds", "time_ids")  # diffusers takes these in `added_cond_kwargs`


@dataclass(frozen=True)
class Answer:
    """What PyTorch says to one case; outputs are small, the module is gone.

    Attributes:
        case: The case.
        reference: What ONNX Runtime is compared with. fp32: PyTorch in float32. fp16 and bf16:
            PyTorch in float32 *on the rounded weights and inputs*, since PyTorch's own half
            arithmetic is no better a judge than ONNX Runtime's.
        native: PyTorch computed in the file's dtype; None without a floor.
        truth: One precision higher: float64 for fp32, else ``reference``; None likewise.
        seconds: Wall time of the run in the file's dtype (the reference's without a floor).
    """

    case: ParityCase
    reference: Array
    native: Array | None
    truth: Array | None
    seconds: float


@contextmanager
def loaded(source: Source, dtype: Dtype, device: str = "cpu") -> Iterator[torch.nn.Module]:
    """The UNet with its weights rounded to ``dtype``.

    At the end its parameters are let go of whoever still holds the module: ONNX Runtime needs
    the memory next.
    """
    unet = load_unet(source, TORCH_DTYPES[dtype]).eval().to(device)
    try:
        with torch.inference_mode(), without_tf32():
            yield unet
    finally:
        torch.nn.Module.to_empty(unet, device="meta")
        give_back()


def call(unet: torch.nn.Module, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Run diffusers' forward on conventional inputs.

    Args:
        unet: A diffusers UNet.
        inputs: Tensors by graph input name.

    Returns:
        ``out_sample``, of the shape of the latents predicted.
    """
    device = next(unet.parameters()).device
    moved = {name: tensor.to(device) for name, tensor in inputs.items()}
    arguments: dict[str, Any] = {k: v for k, v in moved.items() if k not in ADDED}
    added = {k: v for k, v in moved.items() if k in ADDED}
    if added:
        arguments["added_cond_kwargs"] = added
    output: torch.Tensor = unet(**arguments, return_dict=False)[0]
    return output


def precise(dtype: Dtype) -> ComputeIn:
    """The precision that truth is computed in: float64, or float32 for half types."""
    return ComputeIn(torch.float64 if dtype == "fp32" else torch.float32)


def answers(
    source: Source,
    dtype: Dtype,
    cases: Sequence[ParityCase],
    *,
    floor: bool = True,
    device: str = "cpu",
    on_case: Callable[[ParityCase], None] = lambda _: None,
) -> list[Answer]:
    """Ask PyTorch every case, then let go of it.

    Args:
        source: The UNet and its weights.
        dtype: Dtype of the file.
        cases: What to ask.
        floor: Also compute what the noise floor needs, at two to three times the cost.
        device: Where PyTorch runs.
        on_case: Called after each case.
    """
    found = []
    with loaded(source, dtype, device) as unet:
        for case in cases:
            found.append(_answer(unet, case, make_inputs(case, source, dtype), dtype, floor))
            on_case(case)
    return found


def _answer(
    unet: torch.nn.Module,
    case: ParityCase,
    inputs: Mapping[str, torch.Tensor],
    dtype: Dtype,
    floor: bool,
) -> Answer:
    native = truth = None
    seconds = 0.0
    if dtype == "fp32" or floor:
        native, seconds = _timed(unet, inputs, None)
    if dtype != "fp32" or floor:
        truth, truth_seconds = _timed(unet, inputs, precise(dtype))
        seconds = seconds or truth_seconds
    reference = native if dtype == "fp32" else truth
    assert reference is not None  # one of the two runs above
    return Answer(
        case, reference, native if floor else None, truth if floor else None, seconds
    )


def _timed(
    unet: torch.nn.Module, inputs: Mapping[str, torch.Tensor], mode: ComputeIn | None
) -> tuple[Array, float]:
    start = time.perf_counter()
    with mode or nullcontext():
        output = call(unet, inputs)
    if output.dtype not in (torch.float32, torch.float64):
        output = output.float()
    return output.cpu().numpy(), time.perf_counter() - start
