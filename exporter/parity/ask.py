"""PyTorch's answers, the noise floor's ingredients included, before ONNX Runtime is opened."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch

from exporter.call import keep_in_fp32, outputs_of
from exporter.parity.cases import ParityCase
from exporter.parity.precision import ComputeIn, HalfStorage
from exporter.parity.subject import Subject
from exporter.runtime.memory import give_back
from exporter.runtime.providers import choose, require_dtype, without_tf32
from exporter.runtime.session import Array
from exporter.types import Dtype
from exporter.weights.unet import load_unet


@dataclass(frozen=True)
class Answer:
    """What PyTorch says to one case; outputs are small, the module is gone.

    Attributes:
        case: The case.
        reference: What ONNX Runtime is compared with. fp32: PyTorch in float32. fp16 and bf16:
            PyTorch in float32 *on the rounded weights and inputs*, since PyTorch's own half
            arithmetic is no better a judge than ONNX Runtime's.
        native: PyTorch in the file's dtype; None without a floor. See ``precisions``.
        truth: One precision higher: float64 for fp32, else ``reference``; None likewise.
        seconds: Wall time of the reference run.
        floor_seconds: Of the run in the other precision.
        others: The same of the outputs behind the first, where there are several.
        loading: This case's share of the time that building and loading the UNet took.
    """

    case: ParityCase
    reference: Array
    native: Array | None
    truth: Array | None
    seconds: float
    floor_seconds: float = 0.0
    loading: float = 0.0
    others: tuple[Answer, ...] = ()


@contextmanager
def loaded(subject: Subject, device: str = "cpu") -> Iterator[torch.nn.Module]:
    """The UNet with its weights rounded to the dtype, those of kept modules excepted.

    At the end its parameters are let go of whoever still holds the module: ONNX Runtime needs
    the memory next.
    """
    unet = load_unet(subject.source, subject.torch_dtype).eval()
    for path in subject.keep_fp32:
        kept = keep_in_fp32(unet, path, subject.torch_dtype)
        for name, parameter in kept.named_parameters():
            unrounded = subject.source.weights.read(f"{path}.{name}" if path else name)
            parameter.data = unrounded.float()
    unet.to(device)
    try:
        with torch.inference_mode(), without_tf32():
            yield unet
    finally:
        torch.nn.Module.to_empty(unet, device="meta")
        give_back()


def precisions(
    dtype: Dtype,
) -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    """The contexts of the reference run and of the run whose distance to it is the floor.

    fp32: PyTorch as it is, and PyTorch in float64. Half types: PyTorch in float32 on the
    rounded weights, and PyTorch with every value between operators rounded to the type.
    """
    if dtype == "fp32":
        return nullcontext(), ComputeIn(torch.float64)
    return ComputeIn(torch.float32), HalfStorage()


def ask(
    subject: Subject,
    cases: Sequence[ParityCase],
    *,
    floor: bool = True,
    on_case: Callable[[ParityCase], object] = lambda _: None,
) -> tuple[Answer, ...]:
    """Ask PyTorch every case, then let go of it.

    Args:
        subject: The UNet, and how a file of it computes.
        cases: What to ask.
        floor: Also compute what the noise floor needs, at two to three times the cost.
        on_case: Called after each case.

    Raises:
        ProviderError: If the provider cannot be had, or cannot run the dtype: there would be
            nobody to judge.
    """
    require_dtype(choose(subject.provider)[0], subject.dtype)
    found = []
    start = time.perf_counter()
    with loaded(subject, subject.device) as unet:
        loading = (time.perf_counter() - start) / max(len(cases), 1)
        for case in cases:
            answer = _answer(unet, subject, case, floor=floor)
            found.append(replace(answer, loading=loading))
            on_case(case)
    return tuple(found)


def _answer(
    unet: torch.nn.Module, subject: Subject, case: ParityCase, *, floor: bool
) -> Answer:
    inputs = subject.inputs(case)
    first, second = precisions(subject.dtype)
    references, seconds = _timed(unet, inputs, first)
    if not floor:
        one, *rest = (Answer(case, made, None, None, seconds) for made in references)
        return replace(one, others=tuple(rest))
    others, more = _timed(unet, inputs, second)
    native, truth = (references, others) if subject.dtype == "fp32" else (others, references)
    one, *rest = (
        Answer(case, *parts, seconds, more)
        for parts in zip(references, native, truth, strict=True)
    )
    return replace(one, others=tuple(rest))


def _timed(
    unet: torch.nn.Module,
    inputs: Mapping[str, torch.Tensor],
    mode: AbstractContextManager[Any],
) -> tuple[tuple[Array, ...], float]:
    start = time.perf_counter()
    with mode:
        outputs = outputs_of(unet, inputs)
    return tuple(map(_array, outputs)), time.perf_counter() - start


def _array(output: torch.Tensor) -> Array:
    wide = output.dtype in (torch.float32, torch.float64)
    return (output if wide else output.float()).cpu().numpy()
