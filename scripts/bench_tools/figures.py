"""What is measured, and the arithmetic of the table: medians, ratios and their spread."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Round = Mapping[str, float]
"""What one round measured of one peer, by ``Figure.key``."""


@dataclass(frozen=True)
class Figure:
    """One column.

    Attributes:
        key: Its name in a round and in the JSON.
        title: Its name in the table, with the unit.
        show: A value as text.
        compared: Whether a ratio to the reference says anything.
    """

    key: str
    title: str
    show: Callable[[float], str]
    compared: bool = True


@dataclass(frozen=True)
class Cell:
    """One figure of one peer over all rounds.

    Attributes:
        median: Of the rounds that have it.
        ratio: Median of the round-by-round ratios to the reference; None where there is none.
        low: Smallest of those ratios.
        high: Largest of them.
        rounds: How many rounds have it.
    """

    median: float
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    rounds: int = 1


def seconds(value: float) -> str:
    """Seconds in three digits; a latency keeps its milliseconds."""
    return f"{value:.3g} s" if value < 100 else f"{value:.0f} s"


def count(value: float) -> str:
    """A whole number."""
    return f"{value:,.0f}"


def size(value: float) -> str:
    """Bytes in MB or GB of powers of ten."""
    return f"{value / 1e9:.2f} GB" if value >= 1e9 else f"{value / 1e6:.3g} MB"


def share(value: float) -> str:
    """A share in per cent, never rounded up to a hundred."""
    percent = 100 * value
    return f"{min(percent, 99.9) if percent < 100 else percent:.3g} %"


def error_size(value: float) -> str:
    """A difference in scientific notation."""
    return f"{value:.1e}"


FIGURES: tuple[Figure, ...] = (
    Figure("wall", "export", seconds),
    Figure("cpu", "CPU time", seconds),
    Figure("memory", "peak memory", size),
    Figure("written", "written", size),
    Figure("nodes", "nodes of the graph", count),
    Figure("operators", "operators, functions expanded", count),
    Figure("weight_transposes", "and weight Transposes", count, compared=False),
    Figure("functions", "functions", count, compared=False),
    Figure("coverage", "module path in metadata", share, compared=False),
    Figure("named", "or in the node's name", share, compared=False),
    Figure("session", "session creation", seconds),
    Figure("latency", "one step", seconds),
    Figure("difference", "largest difference", error_size, compared=False),
    Figure("drawn", "first drawn", seconds),
)


def cell(key: str, rounds: Sequence[Round], reference: Sequence[Round]) -> Cell | None:
    """One figure of a peer beside the reference's, paired round by round.

    Args:
        key: Which figure.
        rounds: The peer's rounds.
        reference: The reference's rounds, in the same order; rounds that ran side by side are
            compared, so that a machine that slows down slows both.
    """
    values = [one[key] for one in rounds if key in one]
    if not values:
        return None
    pairs = zip(rounds, reference, strict=False)
    ratios = [one[key] / base[key] for one, base in pairs if key in one and base.get(key)]
    if not ratios:
        return Cell(statistics.median(values), rounds=len(values))
    return Cell(
        median=statistics.median(values),
        ratio=statistics.median(ratios),
        low=min(ratios),
        high=max(ratios),
        rounds=len(values),
    )


def ratio_text(found: Cell) -> str:
    """``x2.10 (1.98-2.31)``; the spread is left out where there is none."""
    if found.ratio is None or found.low is None or found.high is None:
        return ""
    if found.low == found.high:
        return f"×{found.ratio:.3g}"
    return f"×{found.ratio:.3g} ({found.low:.3g}–{found.high:.3g})"
