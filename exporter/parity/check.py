"""The check: PyTorch is asked first, then ONNX Runtime on the file as written is judged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from exporter.errors import UsageError
from exporter.parity.ask import ask
from exporter.parity.cases import ParityCase, cases_of
from exporter.parity.count import Count
from exporter.parity.judge import judge
from exporter.parity.report import ParityReport
from exporter.parity.subject import Subject
from exporter.parity.tolerance import Tolerance
from exporter.types import OnProgress, quiet


def check(
    onnx_path: Path,
    subject: Subject,
    *,
    cases: Sequence[ParityCase] | None = None,
    tolerance: Tolerance | None = None,
    floor: bool = True,
    on_progress: OnProgress = quiet,
) -> ParityReport:
    """Run a written file in ONNX Runtime against PyTorch.

    PyTorch answers every case and is freed before the file is opened, so that two copies of
    the weights never meet in memory. To check several files, ``ask`` once and ``judge`` each.

    Args:
        onnx_path: The file, its external data beside it.
        subject: What it should equal.
        cases: What to ask; None for the exporter's own short set.
        tolerance: What each case must satisfy; None for the dtype's default.
        floor: Measure the noise floor, and judge by it unless the tolerance forbids.
        on_progress: Told after each run of a case.

    Returns:
        The findings; a failed check is a report, not an exception.

    Raises:
        ProviderError: If the provider cannot be had or cannot run the file's dtype.
        UsageError: If there are no cases, or the file cannot be loaded or has other inputs
            than the model.
    """
    cases = cases_of(subject.source) if cases is None else cases
    if not cases:
        raise UsageError("no cases to check", "at least one")
    count = Count(on_progress, "parity", 2 * len(cases), "runs")
    answers = ask(subject, cases, floor=floor, on_case=count)
    return judge(onnx_path, subject, answers, tolerance, on_case=count)
