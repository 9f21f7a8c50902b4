"""Numbers and findings as short text, the same in every format."""

from __future__ import annotations

from collections.abc import Iterator

from exporter.parity.locate import Location
from exporter.parity.outcome import Outcome
from exporter.parity.report import CaseResult
from exporter.parity.trajectory import Trajectory

HEADER = (
    "case", "max abs", "mean abs", "rel L2", "1-cos", "PSNR", "floors", "toler.", "verdict",
)  # fmt: skip
"""Column names; ``floors`` is in noise floors, ``toler.`` the share used of the tolerance."""


def row(result: CaseResult) -> tuple[str, ...]:
    """One case under ``HEADER``."""
    verdict = "passed" if result.passed else "failed"
    errors, floor = result.errors, result.floor
    if errors is None:
        return (result.name, *("",) * 7, verdict)
    return (
        result.name,
        f"{errors.max_abs:.2g}",
        f"{errors.mean_abs:.2g}",
        f"{errors.rel_l2:.2g}",
        f"{max(1 - errors.cosine, 0):.1g}",
        f"{errors.psnr:.0f}",
        f"{floor.ratio:.2g}" if floor else "",
        f"{errors.tolerance_use:.2g}",
        verdict,
    )


def facts(outcome: Outcome) -> Iterator[tuple[str, str]]:
    """What the numbers were taken with, as name and text."""
    report = outcome.report
    factor = report.tolerance.floor_factor
    yield "model", f"{report.model}, {report.dtype}"
    yield (
        "tolerance",
        f"|a-b| <= {report.atol:g} + {report.rtol:g}*|b|"
        + (f", and {factor:g}x the noise floor" if factor else "; the floor is not judged"),
    )
    placed = ", ".join(
        f"{count} nodes on {name.removesuffix('ExecutionProvider')} "
        f"({report.placement.heavy.get(name, 0)} heavy)"
        for name, count in report.placement.nodes.items()
    )
    note = f"; {report.provider_note}" if report.provider_note else ""
    yield (
        "provider",
        f"asked {report.provider}, got {report.provider_used}: {placed}; TF32 off{note}",
    )
    yield "versions", ", ".join(f"{name} {value}" for name, value in report.versions.items())
    yield (
        "memory",
        f"peak {report.peak_memory / 1e9:.2f} GB, "
        f"{report.torch_peak_memory / 1e9:.2f} GB when PyTorch had finished",
    )
    parts = f" ({report.times})" if report.times else ""
    yield "time", f"{outcome.seconds:.1f} s{parts}"
    for reason in report.skipped:
        yield "skipped", reason
    yield "not seen", "; ".join(report.unseen)


def failures(outcome: Outcome) -> Iterator[str]:
    """One line for each case that failed, and for each condition that cannot be judged."""
    for result in outcome.report.cases:
        if not result.passed:
            yield f"{result.name}: {result.verdict.removeprefix('failed: ')}"
    for condition in outcome.report.unprovable:
        yield f"{condition}: not provable in {outcome.report.dtype}: below its noise"


def drift(run: Trajectory) -> str:
    """One sampling run in a line."""
    floor = f", {run.ratio:.2g}x its noise floor" if run.ratio is not None else ""
    return (
        f"{run.scheduler}: relative drift {run.end.rel_l2:.1e} after {len(run.steps)} steps "
        f"(guidance {run.guidance:g}){floor}, {'passed' if run.passed else 'failed'}"
    )


def searched(outcome: Outcome) -> Iterator[str]:
    """What a search found, and what was left by a reduction; a few lines, if any."""
    if outcome.location is not None:
        yield from located(outcome.location)
    if outcome.reduction is not None:
        yield str(outcome.reduction)


def located(location: Location) -> Iterator[str]:
    """A search for the first departure, a few lines."""
    finding = location.finding
    if location.runtime or finding is None:
        yield f"located on {location.case}: {location}"
    else:
        yield f"located on {location.case}: block {finding.block}; {finding}"
        yield from finding.evidence
        if finding.region:
            yield f"between right and wrong: {', '.join(finding.region)}"
        for operand in finding.operands:
            bad = f", {operand.nonfinite} not finite" if operand.nonfinite else ""
            yield f"operand {operand.name}: {operand.low:.4g} to {operand.high:.4g}{bad}"
    if location.keep_fp32:
        modules = " ".join(f"--keep-fp32 {module}" for module in location.keep_fp32)
        yield f"to stay in range: python -m exporter ... {modules}"
    if location.note:
        yield location.note
    yield (
        f"{location.sessions} sessions, {location.seconds:.1f} s, peak "
        f"{location.peak_memory / 1e9:.2f} GB"
    )
