"""What to measure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench_tools.environment import PROJECT
from bench_tools.peer import Peer


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Attributes:
        subject: Preset.
        peers: Who, in the order of a round; the reference first.
        runs: Rounds.
        cache: Where environments are kept and files are written meanwhile.
        limit: Seconds after which one command is given up.
        layout: Seconds after which a layout by Graphviz is given up.
    """

    subject: str
    peers: tuple[Peer, ...]
    runs: int
    cache: Path
    limit: float
    layout: float = 120.0

    @property
    def python(self) -> Path:
        """Of the environment this runs in: the same one measures every graph."""
        return PROJECT.bin(self.cache) / "python"
