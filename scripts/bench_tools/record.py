"""What is known of one peer while the rounds go on."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from bench_tools.peer import Peer
from bench_tools.result import Result, Row


@dataclass
class Record:
    """What is known of one peer so far.

    Attributes:
        peer: Which.
        bin: Folder of its executables; None without an environment.
        versions: Its packages.
        rounds: What each finished round measured.
        errors: What went wrong, by step. A step that failed is not tried again.
        graph: Digest of the graph it wrote last.
    """

    peer: Peer
    bin: Path | None = None
    versions: dict[str, str] = field(default_factory=dict)
    rounds: list[dict[str, float]] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    graph: str = ""

    def restore(self, earlier: Result) -> None:
        """Takes over what an interrupted benchmark has measured of this peer."""
        for row in earlier.rows:
            if row.peer == self.peer:
                self.rounds = [dict(one) for one in row.rounds]
                errors = {
                    step: why for step, why in row.errors.items() if step != "environment"
                }
                self.errors = {**errors, **self.errors}  # its environment was tried anew
                self.graph = row.graph

    def row(self) -> Row:
        """As a value."""
        return Row(
            self.peer, dict(self.versions), tuple(self.rounds), dict(self.errors), self.graph
        )
