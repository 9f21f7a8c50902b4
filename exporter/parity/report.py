"""What a check found; everything that follows from it is derived."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from exporter.parity.cases import ParityCase
from exporter.parity.differences import Difference, Verdict
from exporter.parity.metrics import Errors, Floor
from exporter.parity.times import Times
from exporter.parity.tolerance import Tolerance
from exporter.runtime.session import Placement
from exporter.types import Dtype, Provider


@dataclass(frozen=True)
class CaseResult:
    """One case, both backends.

    Attributes:
        case: The case.
        tolerance: What it had to satisfy.
        errors: How far apart they are; None where ONNX Runtime raised.
        floor: How far apart they must be; None where not measured.
        failure: ONNX Runtime's message where it raised, a wrong output shape, or a value
            inside that leaves the range of its half type.
        torch_seconds: PyTorch's wall time in the file's dtype.
        ort_seconds: ONNX Runtime's wall time, its first run at this shape.
        differences: What each condition changes, where the case contrasts them.
        output: The worst one, where there are several.
    """

    case: ParityCase
    tolerance: Tolerance
    errors: Errors | None
    floor: Floor | None
    failure: str = ""
    torch_seconds: float = 0.0
    ort_seconds: float = 0.0
    differences: tuple[Difference, ...] = ()
    output: str = ""

    @property
    def name(self) -> str:
        """The case's name."""
        return self.case.name

    @property
    def passed(self) -> bool:
        """Within the tolerance, and within the floor where that is judged."""
        return self.severity <= 1

    @property
    def severity(self) -> float:
        """1 is the limit: the largest of what the tolerance and the floors say."""
        if self.errors is None or self.failure:
            return math.inf
        factor = self.tolerance.floor_factor
        if not (self.floor and factor):
            return self.errors.tolerance_use
        floors = max(self.floor.ratio, self.floor.max_ratio) / factor
        parts = (part.ratio / part.limit for part in self.differences)
        return max(self.errors.tolerance_use, floors, *parts)

    @property
    def verdict(self) -> str:
        """One line, e.g. ``passed: 1.1x the noise floor, 2 % of the tolerance``."""
        if self.errors is None or self.failure:
            return f"failed: {self.failure}"
        if self.errors.nonfinite:
            share = f"{self.errors.nonfinite} of {self.errors.elements}"
            return f"failed: {share} elements are NaN or infinite"
        word = "passed" if self.passed else "failed"
        word += f" at {self.output}" if self.output and not self.passed else ""
        parts = [f"{self.errors.tolerance_use:.2g}x the tolerance"]
        if self.floor is not None:
            parts.insert(0, f"{self.floor.ratio:.2g}x the noise floor")
            if self.floor.max_ratio > self.floor.ratio:
                parts.insert(1, f"{self.floor.max_ratio:.2g}x its maximum")
        parts += [
            f"what {part.condition} changes is {part.ratio:.2g}x its floor off"
            for part in self.differences
            if part.verdict == "failed"
        ]
        return f"{word}: {', '.join(parts)}"

    def to_json(self) -> dict[str, Any]:
        """As in docs/report.schema.json; numbers that are not finite become null."""
        found: dict[str, Any] = {
            "name": self.name,
            **asdict(self.case),
            "passed": self.passed,
            "verdict": self.verdict,
            "failure": self.failure,
            "errors": asdict(self.errors) if self.errors else None,
            "floor": _floor(self.floor) if self.floor else None,
            "differences": [
                {**asdict(part), "ratio": part.ratio, "verdict": part.verdict}
                for part in self.differences
            ],
            "torch_seconds": round(self.torch_seconds, 3),
            "ort_seconds": round(self.ort_seconds, 3),
        }
        finite: dict[str, Any] = json_safe(found)
        return finite


def _floor(floor: Floor) -> dict[str, Any]:
    return {**asdict(floor), "ratio": floor.ratio, "max_ratio": floor.max_ratio}


@dataclass(frozen=True)
class ParityReport:
    """One file against PyTorch.

    Attributes:
        model: What PyTorch ran.
        dtype: Dtype of the file.
        tolerance: What every case had to satisfy.
        cases: Results in the order asked.
        provider: What was requested.
        provider_used: What ONNX Runtime obtained.
        provider_note: Why ``auto`` took what it took.
        placement: Nodes by provider.
        peak_memory: Largest resident size of the process, in bytes.
        torch_peak_memory: The same when PyTorch had finished.
        versions: Packages and drivers that decided the result.
        skipped: Cases that the file cannot be asked, with the reason.
        digest: What ties the verdict to the file: of its graph and its weights' headers.
        unseen: What a file could do wrong without any of the cases telling.
        times: Where the time went; None in a report that no check made.
        tf32: Whether TF32 was allowed; never, on either side.
    """

    model: str
    dtype: Dtype
    tolerance: Tolerance
    cases: tuple[CaseResult, ...]
    provider: Provider
    provider_used: str
    provider_note: str
    placement: Placement
    peak_memory: int
    torch_peak_memory: int
    versions: Mapping[str, str] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()
    digest: Mapping[str, Any] = field(default_factory=dict)
    unseen: tuple[str, ...] = ()
    times: Times | None = None
    tf32: bool = False

    @property
    def failed(self) -> bool:
        """Whether there are no cases, or one of them failed."""
        return not self.cases or not all(result.passed for result in self.cases)

    @property
    def unprovable(self) -> tuple[str, ...]:
        """Conditions that weigh less than the noise of the dtype."""
        parts = (part for result in self.cases for part in result.differences)
        return tuple(part.condition for part in parts if part.verdict == "not provable")

    @property
    def verdict(self) -> Verdict:
        """``not provable`` is not ``passed``: a file that ignored a condition would get it."""
        if self.failed:
            return "failed"
        return "not provable" if self.unprovable else "passed"

    @property
    def passed(self) -> bool:
        """Whether there are cases, all of them passed and saw every condition."""
        return self.verdict == "passed"

    @property
    def worst(self) -> CaseResult:
        """The case nearest to, or farthest beyond, its limit."""
        return max(self.cases, key=lambda result: result.severity)

    @property
    def to_search(self) -> ParityCase:
        """The cheapest case that failed, else the cheapest: where to look for a fault."""
        failed = [result for result in self.cases if not result.passed] or self.cases
        return min((result.case for result in failed), key=lambda case: case.size)

    @property
    def atol(self) -> float:
        """Absolute tolerance."""
        return self.tolerance.atol

    @property
    def rtol(self) -> float:
        """Relative tolerance."""
        return self.tolerance.rtol

    def to_json(self) -> dict[str, Any]:
        """The whole report as JSON values; the schema is docs/report.schema.json."""
        found: dict[str, Any] = {
            "verdict": self.verdict,
            "model": self.model,
            "dtype": self.dtype,
            **asdict(self.tolerance),
            "worst": self.worst.name if self.cases else None,
            "provider_requested": self.provider,
            "provider": self.provider_used,
            "provider_note": self.provider_note,
            "placement": asdict(self.placement),
            "tf32": self.tf32,
            "peak_memory": self.peak_memory,
            "torch_peak_memory": self.torch_peak_memory,
            "versions": dict(self.versions),
            "digest": dict(self.digest),
            "skipped": list(self.skipped),
            "unprovable": list(self.unprovable),
            "unseen": list(self.unseen),
            "times": asdict(self.times) if self.times else None,
            "cases": [result.to_json() for result in self.cases],
        }
        finite: dict[str, Any] = json_safe(found)
        return finite

    def to_metadata(self) -> dict[str, Any]:
        """The short form that the file itself carries as ``atlas.parity``."""
        return {
            "verdict": self.verdict,
            **({"unprovable": list(self.unprovable)} if self.unprovable else {}),
            "provider": self.provider_used,
            "digest": dict(self.digest),
            **asdict(self.tolerance),
            "cases": [
                {
                    "name": result.name,
                    "max_abs": json_safe(result.errors.max_abs if result.errors else None),
                    "max_rel": json_safe(result.errors.max_rel if result.errors else None),
                    "floor_ratio": json_safe(result.floor.ratio if result.floor else None),
                }
                for result in self.cases
            ],
        }


def json_safe(value: Any) -> Any:
    """The value with NaN and infinities as None, and tuples as lists."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: json_safe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_safe(item) for item in value]
    return value
