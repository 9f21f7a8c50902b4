"""Everything one run of ``python -m exporter.parity`` found about one file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from exporter.parity.differences import Verdict
from exporter.parity.locate import Location
from exporter.parity.reduce import Reduction
from exporter.parity.report import ParityReport
from exporter.parity.trajectory import Trajectory

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Outcome:
    """One file's check, with what was asked for besides.

    Attributes:
        file: Name of the file.
        report: The check.
        location: The search for the first departure, if one was made.
        trajectories: Sampling runs, if any.
        seconds: Wall time in all.
        reduction: What is left of a failing file, if that was asked for and could be found.
    """

    file: str
    report: ParityReport
    location: Location | None
    trajectories: tuple[Trajectory, ...]
    seconds: float
    reduction: Reduction | None = None

    @property
    def passed(self) -> bool:
        """Every case and every trajectory passed."""
        return self.report.passed and all(run.passed for run in self.trajectories)

    @property
    def verdict(self) -> Verdict:
        """The check's, unless a trajectory failed."""
        failed = not all(run.passed for run in self.trajectories)
        return "failed" if failed else self.report.verdict

    def to_json(self) -> dict[str, Any]:
        """As in docs/report.schema.json."""
        return {
            "schema": SCHEMA_VERSION,
            "file": self.file,
            "passed": self.passed,
            "seconds": round(self.seconds, 1),
            "parity": self.report.to_json(),
            "location": self.location.to_json() if self.location else None,
            "reduction": self.reduction.to_json() if self.reduction else None,
            "trajectories": [run.to_json() for run in self.trajectories],
        }
