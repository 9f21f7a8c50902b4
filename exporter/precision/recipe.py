"""What a search found, as a value; and the log from which an interrupted one goes on."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from exporter.disk import write_text
from exporter.errors import UsageError
from exporter.json_text import parse_json


@dataclass(frozen=True)
class Recipe:
    """Which modules to keep in float32.

    Attributes:
        dtype: The half type of the rest.
        limit: The relative error that was asked for.
        error: The relative error that the recipe has.
        keep_fp32: The modules, the costliest first.
        table: What each unit alone costs, by path; infinite where it leaves the range.
        evaluations: How often a whole UNet was run to find it, now or in a search before.
    """

    dtype: str
    limit: float
    error: float
    keep_fp32: tuple[str, ...]
    table: Mapping[str, float]
    evaluations: int

    def __str__(self) -> str:
        kept = ", ".join(self.keep_fp32) or "nothing"
        return (
            f"keeps {kept} in fp32 ({len(self.keep_fp32)} of {len(self.table)} modules): "
            f"relative error {self.error:.2g}, at most {self.limit:g}; "
            f"{self.evaluations} evaluations"
        )


@dataclass
class Log:
    """Everything measured so far, on disk after each measurement.

    Attributes:
        path: The file; None keeps nothing.
        subject: What was measured: model, weights, dtype, cases, versions. Another subject's
            log is refused.
        table: See ``Recipe``; empty before it was measured.
        errors: Relative error by the set of kept modules, sorted and joined by spaces.
    """

    path: Path | None
    subject: Mapping[str, Any]
    table: dict[str, float] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path | None, subject: Mapping[str, Any]) -> Log:
        """An empty log, or what a search of the same subject left there.

        Raises:
            UsageError: The file is another search's, or no log.
        """
        log = cls(path, dict(subject))
        if path is None or not path.exists():
            return log
        try:
            values = parse_json(path.read_bytes())
            same = values["subject"] == json.loads(json.dumps(log.subject))
            log.table = {key: _number(value) for key, value in values["table"].items()}
            log.errors = {key: _number(value) for key, value in values["errors"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(f"--search-log {path} is no log of a search") from error
        if not same:
            raise UsageError(
                f"--search-log {path} is of another search", do="remove it or name another"
            )
        return log

    def save(self) -> None:
        """Writes it whole, if there is a place."""
        if self.path is None:
            return
        numbers = {
            "subject": dict(self.subject),
            "table": {key: _text(value) for key, value in self.table.items()},
            "errors": {key: _text(value) for key, value in self.errors.items()},
        }
        write_text(self.path, json.dumps(numbers, indent=1) + "\n")


def _number(value: Any) -> float:
    return math.inf if value is None else float(value)


def _text(value: float) -> float | None:
    return value if math.isfinite(value) else None
