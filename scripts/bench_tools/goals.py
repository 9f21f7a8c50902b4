"""What we set out to reach, and whether the measured rows reach it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bench_tools.result import Result, Row

OURS = "atlas"
"""What the names of our rows begin with."""


@dataclass(frozen=True)
class Goal:
    """One goal.

    Attributes:
        title: What is to be at most ``limit``.
        limit: The most it may be.
        show: A value as text, rounded up: never in our favour.
        why: Where the reason stands if it is missed.
        values: What each round found; empty where it was not measured.
        beside: What the values are compared with, in words.
    """

    title: str
    limit: float
    show: Callable[[float], str]
    why: str
    values: tuple[float, ...] = ()
    beside: str = ""

    @property
    def found(self) -> float | None:
        """Median of the rounds."""
        return statistics.median(self.values) if self.values else None

    @property
    def met(self) -> bool | None:
        """Whether the median is within the limit; None where nothing was measured."""
        return None if self.found is None else self.found <= self.limit

    @property
    def measured(self) -> str:
        """The median, the spread of the rounds, and what it stands beside."""
        if self.found is None:
            return "–"
        low, high = min(self.values), max(self.values)
        spread = f" ({self.show(low)} to {self.show(high)})" if low < high else ""
        return self.show(self.found) + spread + (f" {self.beside}" if self.beside else "")

    @property
    def verdict(self) -> str:
        """``met``, or by how much it was missed and where the reason stands."""
        if self.found is None:
            return "not measured"
        if self.met:
            return "met"
        excess = self.found - self.limit
        share = _up(100 * excess / self.limit, 1)
        return f"missed by {self.show(excess).lstrip('×')} ({share} %): {self.why}"

    def to_json(self) -> dict[str, Any]:
        """Unrounded."""
        return {
            "goal": self.title,
            "limit": self.limit,
            "values": list(self.values),
            "found": self.found,
            "met": self.met,
            "beside": self.beside,
        }


def _up(value: float, digits: int) -> str:
    """Rounded up; the last bits of a binary fraction are no reason to."""
    factor = 10.0**digits
    return f"{math.ceil(round(value * factor, 6)) / factor:,.{digits}f}"


def _seconds(value: float) -> str:
    return f"{_up(value, 2)} s"


def _gigabytes(value: float) -> str:
    return f"{_up(value / 1e9, 3)} GB"


def _ratio(value: float) -> str:
    return f"×{_up(value, 3)}"


_ABSOLUTE: Mapping[str, Mapping[str, float]] = {
    "sd15": {"wall": 12.0, "memory": 0.8e9},
    "sdxl": {"wall": 25.0, "memory": 1.0e9},
}
"""The most a linked export without its check may take, by preset."""

_TEXTS: Mapping[str, tuple[str, Callable[[float], str], str]] = {
    "wall": (
        "export, linked, --no-check",
        _seconds,
        "the profile by stage says where it goes",
    ),
    "memory": ("its peak memory", _gigabytes, "mapped files count; see the profile by stage"),
}


def goals(result: Result) -> list[Goal]:
    """The goals of a subject; those beside a peer exist for every subject."""
    return [*_absolute(result), *_beside_peers(result)]


def _absolute(result: Result) -> Iterator[Goal]:
    row = result.row("atlas-unchecked")
    for key, limit in _ABSOLUTE.get(result.subject, {}).items():
        title, show, why = _TEXTS[key]
        values = tuple(one[key] for one in row.rounds if key in one) if row else ()
        yield Goal(title, limit, show, why, values)


def _beside_peers(result: Result) -> Iterator[Goal]:
    """Ours, as it comes and packed, beside the peer that is best at it, round by round."""
    linked = next((row for row in map(result.row, ("atlas", "atlas-unchecked")) if row), None)
    for key, title in (("latency", "one step"), ("session", "session creation")):
        best = _best(result, key)
        for row, variant in ((linked, "linked"), (result.row("atlas-packed"), "packed")):
            if row is None:
                continue
            yield Goal(
                f"{title}, {variant}, to the best peer's",
                1.0,
                _ratio,
                "the spread of the rounds stands beside it"
                + (
                    "; weight Transposes are done then"
                    if (key, variant) == ("session", "linked")
                    else ""
                ),
                _ratios(row, best, key) if best else (),
                f"of {best.peer.title}" if best else "",
            )


def _best(result: Result, key: str) -> Row | None:
    theirs = [
        (statistics.median(values), row)
        for row in result.rows
        if not row.peer.name.startswith(OURS)
        if (values := [one[key] for one in row.rounds if key in one])
    ]
    return min(theirs, key=lambda pair: pair[0])[1] if theirs else None


def _ratios(row: Row, best: Row, key: str) -> tuple[float, ...]:
    pairs = zip(row.rounds, best.rounds, strict=False)
    return tuple(one[key] / two[key] for one, two in pairs if key in one and key in two)
