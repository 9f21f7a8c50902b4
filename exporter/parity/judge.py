"""ONNX Runtime on the file as written, judged by what PyTorch answered."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from exporter.digest import digests
from exporter.errors import ParityError
from exporter.parity.ask import Answer
from exporter.parity.cases import ParityCase
from exporter.parity.conditions import conditions
from exporter.parity.coverage import unseen
from exporter.parity.differences import Difference, differences
from exporter.parity.locate.ranges import overflows
from exporter.parity.metrics import Floor, compare, measure_floor
from exporter.parity.report import CaseResult, ParityReport
from exporter.parity.subject import Subject
from exporter.parity.times import times
from exporter.parity.tolerance import DEFAULTS, Tolerance
from exporter.runtime.contract import read_contract
from exporter.runtime.memory import give_back, peak_memory
from exporter.runtime.providers import provider_versions
from exporter.runtime.session import Array, Session, open_session

OUTPUT = "out_sample"
DIFFERENCES = 1.5
"""A difference of two samples may be this much farther off than an output: it has fewer
elements, and how far the errors of both cancel is chance."""


def judge(
    onnx_path: Path,
    subject: Subject,
    answers: Sequence[Answer],
    tolerance: Tolerance | None = None,
    *,
    on_case: Callable[[ParityCase], object] = lambda _: None,
) -> ParityReport:
    """Run a file on every case that PyTorch has answered.

    Args:
        onnx_path: The file, its external data beside it.
        subject: What it should equal; the one that was asked.
        answers: What PyTorch said.
        tolerance: What each case must satisfy; None for the dtype's default.
        on_case: Called after each case.

    Returns:
        The findings; a failed check is a report, not an exception.

    Raises:
        ProviderError: If the provider cannot be had or cannot run an operator of the file.
        UsageError: If the file cannot be loaded or has other inputs than the model.
    """
    tolerance = tolerance or DEFAULTS[subject.dtype]
    torch_peak = peak_memory()
    start = time.perf_counter()
    session = open_session(onnx_path, subject.provider)
    opening = time.perf_counter() - start
    wrong_type = _wrong_type(session)
    results = []
    for answer in answers:
        result = _run(session, subject, answer, tolerance)
        results.append(replace(result, failure=result.failure or wrong_type))
        on_case(answer.case)
    used, note, placement = session.provider, session.note, session.placement
    del session
    give_back()
    start = time.perf_counter()
    if subject.dtype != "fp32":
        results = _with_overflows(results, onnx_path, subject)
    ranges = time.perf_counter() - start if subject.dtype != "fp32" else 0.0
    running = sum(result.ort_seconds for result in results)
    return ParityReport(
        model=subject.source.name,
        dtype=subject.dtype,
        tolerance=tolerance,
        cases=tuple(results),
        provider=subject.provider,
        provider_used=used,
        provider_note=note,
        placement=placement,
        peak_memory=peak_memory(),
        torch_peak_memory=torch_peak,
        versions={**provider_versions(), "python": platform.python_version()},
        digest=digests(onnx_path),
        unseen=unseen(
            subject.source, read_contract(onnx_path), [answer.case for answer in answers]
        ),
        times=times(subject.dtype, answers, opening, running, ranges),
    )


def _wrong_type(session: Session) -> str:
    """A prediction in another type than the latents': the scheduler's sum would change too."""
    taken = {spec.name: spec.type for spec in session.raw.get_inputs()}.get("sample", "")
    made = {spec.name: spec.type for spec in session.raw.get_outputs()}
    given = made.get(OUTPUT, next(iter(made.values())))
    return "" if given == taken else f"{OUTPUT} is {given}, sample is {taken}"


def _with_overflows(
    results: list[CaseResult], path: Path, subject: Subject
) -> list[CaseResult]:
    ran = [result for result in results if not result.failure]  # others may not run at all
    if not ran:
        return results
    found = iter(overflows(path, subject.provider, (subject.inputs(one.case) for one in ran)))
    return [
        result
        if result.failure or not (overflow := next(found))
        else replace(result, failure=str(overflow))
        for result in results
    ]


def _run(
    session: Session, subject: Subject, answer: Answer, tolerance: Tolerance
) -> CaseResult:
    inputs = subject.inputs(answer.case)
    start = time.perf_counter()
    try:
        outputs = session.run(inputs)
    except ParityError as error:
        return CaseResult(answer.case, tolerance, None, None, str(error), answer.seconds)
    seconds = time.perf_counter() - start
    names = subject.source.outputs
    if len(names) > 1 and list(outputs) != list(names):
        failure = f"outputs {', '.join(outputs)}, expected {', '.join(names)}"
        return CaseResult(answer.case, tolerance, None, None, failure, answer.seconds, seconds)
    if len(names) == 1:
        ours = outputs[OUTPUT] if OUTPUT in outputs else next(iter(outputs.values()))
        return _judged(ours, subject, answer, tolerance, seconds)
    every = zip(names, (answer, *answer.others), strict=True)
    found = [
        replace(_judged(outputs[name], subject, one, tolerance, seconds), output=name)
        for name, one in every
    ]
    return max(found, key=lambda result: result.severity)


def _judged(
    ours: Array, subject: Subject, answer: Answer, tolerance: Tolerance, seconds: float
) -> CaseResult:
    """One output against what PyTorch said of it."""
    if ours.shape != answer.reference.shape:
        failure = f"output of shape {ours.shape}, PyTorch's is {answer.reference.shape}"
        return CaseResult(answer.case, tolerance, None, None, failure, answer.seconds, seconds)
    floor: Floor | None = None
    parts: tuple[Difference, ...] = ()
    if answer.native is not None and answer.truth is not None:
        eps = torch.finfo(subject.torch_dtype).eps
        floor = measure_floor(ours, answer.native, answer.truth, eps)
        if floor is not None and answer.case.contrast and tolerance.floor_factor:
            parts = _differences(subject, answer, ours, tolerance.floor_factor)
    errors = compare(ours, answer.reference, atol=tolerance.atol, rtol=tolerance.rtol)
    return CaseResult(
        answer.case, tolerance, errors, floor, "", answer.seconds, seconds, parts
    )


def _differences(
    subject: Subject, answer: Answer, ours: Array, factor: float
) -> tuple[Difference, ...]:
    assert answer.native is not None
    assert answer.truth is not None
    found = differences(
        (ours, answer.native, answer.truth),
        conditions(subject.source),
        eps=torch.finfo(subject.torch_dtype).eps,
        limit=DIFFERENCES * factor,
    )
    asked = (part for part in found if part.condition != "time" or answer.case.per_sample)
    return tuple(asked)
