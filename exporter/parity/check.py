"""The check: PyTorch first, then ONNX Runtime on the file as written, then the verdict."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from exporter.errors import ParityError, UsageError
from exporter.parity.cases import ParityCase, matrix
from exporter.parity.inputs import make_inputs
from exporter.parity.locate.ranges import overflows
from exporter.parity.metrics import compare, measure_floor
from exporter.parity.reference import Answer, answers
from exporter.parity.report import CaseResult, ParityReport
from exporter.parity.tolerance import Tolerance, resolve
from exporter.runtime.memory import give_back, peak_memory
from exporter.runtime.providers import choose, provider_versions, require_dtype
from exporter.runtime.session import Session, open_session
from exporter.types import TORCH_DTYPES, Dtype, OnProgress, Progress, Provider, Source, quiet

OUTPUT = "out_sample"


def check(
    onnx_path: Path,
    source: Source,
    *,
    cases: Sequence[ParityCase] | None = None,
    provider: Provider = "auto",
    dtype: Dtype = "fp32",
    keep_fp32: Sequence[str] = (),
    atol: float | None = None,
    rtol: float | None = None,
    floor: bool = True,
    floor_factor: float | None = None,
    answered: list[Answer] | None = None,
    on_progress: OnProgress = quiet,
) -> ParityReport:
    """Run a written file in ONNX Runtime against PyTorch.

    PyTorch answers every case and is freed before the file is opened, so that two copies of
    the weights never meet in memory.

    Args:
        onnx_path: The file, its external data beside it.
        source: The UNet it should equal, with its weights.
        cases: What to ask; None takes the short form (batch 1 to 3, odd and even sizes smaller
            than the traced one, 1, 32 and 77 tokens).
        provider: Where ONNX Runtime runs.
        dtype: Dtype of the file.
        keep_fp32: Modules of the file that compute in float32 all the same.
        atol: Absolute tolerance; None for the dtype's default.
        rtol: Relative tolerance; None for the dtype's default.
        floor: Measure the noise floor, and judge by it unless a tolerance is given.
        floor_factor: How many times the floor is too far; None for the dtype's default.
        answered: PyTorch's answers to the same question about another file; an empty list is
            filled. PyTorch is then asked once for several files.
        on_progress: Told after each run of a case.

    Returns:
        The findings; a failed check is a report, not an exception.

    Raises:
        ProviderError: If the provider cannot be had or cannot run the file's dtype.
        UsageError: If the file cannot be loaded or has other inputs than the model.
    """
    tolerance = resolve(dtype, atol, rtol, floor_factor)
    obtained, _ = choose(provider)
    require_dtype(obtained, dtype)
    if cases is None:
        text = any(spec.name == "encoder_hidden_states" for spec in source.inputs)
        cases = matrix("smoke", size_multiple=source.size_multiple, text=text)
    if not cases:
        raise UsageError("no cases to check", "at least one")
    step = _Steps(on_progress, (1 if answered else 2) * len(cases))
    device = "cuda" if obtained == "cuda" and torch.cuda.is_available() else "cpu"
    asked = answered or answers(
        source, dtype, cases, floor=floor, device=device, keep_fp32=keep_fp32, on_case=step
    )
    if answered is not None:
        answered[:] = asked
    torch_peak = peak_memory()
    session = open_session(onnx_path, provider)
    results = []
    for answer in asked:
        results.append(_run(session, source, answer, dtype, tolerance))
        step(answer.case)
    used, note, placement = session.provider, session.note, session.placement
    del session
    give_back()
    if dtype != "fp32":
        results = _with_overflows(results, onnx_path, source, dtype, provider)
    return ParityReport(
        model=source.name,
        dtype=dtype,
        tolerance=tolerance,
        cases=tuple(results),
        provider=provider,
        provider_used=used,
        provider_note=note,
        placement=placement,
        peak_memory=peak_memory(),
        torch_peak_memory=torch_peak,
        versions={**provider_versions(), "python": platform.python_version()},
    )


class _Steps:
    """Counts finished runs and reports them."""

    def __init__(self, on_progress: OnProgress, total: int) -> None:
        self._tell: Callable[[Progress], None] = on_progress
        self._done, self._total = 0, total

    def __call__(self, _: ParityCase) -> None:
        self._done += 1
        self._tell(Progress("parity", self._done, self._total, "runs"))


def _with_overflows(
    results: list[CaseResult], path: Path, source: Source, dtype: Dtype, provider: Provider
) -> list[CaseResult]:
    inputs = (make_inputs(result.case, source, dtype) for result in results)
    found = overflows(path, provider, inputs)
    return [
        replace(result, failure=str(overflow)) if overflow and not result.failure else result
        for result, overflow in zip(results, found, strict=True)
    ]


def _run(
    session: Session, source: Source, answer: Answer, dtype: Dtype, tolerance: Tolerance
) -> CaseResult:
    inputs = make_inputs(answer.case, source, dtype)
    start = time.perf_counter()
    try:
        outputs = session.run(inputs)
    except ParityError as error:
        return CaseResult(answer.case, tolerance, None, None, str(error), answer.seconds)
    seconds = time.perf_counter() - start
    ours = outputs[OUTPUT] if OUTPUT in outputs else next(iter(outputs.values()))
    if ours.shape != answer.reference.shape:
        failure = f"output of shape {ours.shape}, PyTorch's is {answer.reference.shape}"
        return CaseResult(answer.case, tolerance, None, None, failure, answer.seconds, seconds)
    floor = None
    if answer.native is not None and answer.truth is not None:
        eps = torch.finfo(TORCH_DTYPES[dtype]).eps
        floor = measure_floor(ours, answer.native, answer.truth, eps)
    errors = compare(ours, answer.reference, atol=tolerance.atol, rtol=tolerance.rtol)
    return CaseResult(answer.case, tolerance, errors, floor, "", answer.seconds, seconds)
