"""Where the time of our own exports goes, stage by stage, as their reports say."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from bench_tools.result import Result, Row
from bench_tools.steps import STAGE

REST = "start and exit"
"""What the process takes beyond its stages: Python, the command line, freeing memory."""


@dataclass(frozen=True)
class Profile:
    """One row's export.

    Attributes:
        title: Of the row.
        seconds: Median seconds by stage, in their order; the rest of the process comes last.
        wall: Median seconds of the whole process.
    """

    title: str
    seconds: Mapping[str, float]
    wall: float


def profiles(result: Result) -> list[Profile]:
    """Of every row that reported stages and is measured by itself."""
    found = (_profile(row) for row in result.rows)
    return [one for one in found if one is not None]


def _profile(row: Row) -> Profile | None:
    rounds = [one for one in row.rounds if any(key.startswith(STAGE) for key in one)]
    if not rounds:
        return None
    stages = [key for key in rounds[0] if key.startswith(STAGE)]
    seconds = {
        key.removeprefix(STAGE): statistics.median(one[key] for one in rounds if key in one)
        for key in stages
    }
    rest = [one["wall"] - sum(one.get(key, 0.0) for key in stages) for one in rounds]
    seconds[REST] = statistics.median(rest)
    return Profile(row.peer.title, seconds, statistics.median(one["wall"] for one in rounds))


def markdown(found: list[Profile]) -> list[str]:
    """A line for each stage, a column for each row; nothing if nothing was reported."""
    if not found:
        return []
    names = list(dict.fromkeys(name for one in found for name in one.seconds if name != REST))
    lines = [
        "| seconds | " + " | ".join(one.title for one in found) + " |",
        "|---" + "|---:" * len(found) + "|",
    ]
    for name in (*names, REST):
        cells = (f"{one.seconds[name]:.2f}" if name in one.seconds else "–" for one in found)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines.append("| in all | " + " | ".join(f"{one.wall:.2f}" for one in found) + " |")
    return lines
