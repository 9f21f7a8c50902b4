"""What a benchmark found, as values and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bench_tools.figures import FIGURES, Cell, Round, cell
from bench_tools.peer import Peer


@dataclass(frozen=True)
class Row:
    """One peer.

    Attributes:
        peer: Which.
        versions: Its packages.
        rounds: What each round measured.
        errors: What went wrong, by step (``environment``, ``export``, ``graph``, ``run``,
            ``draw``).
    """

    peer: Peer
    versions: Mapping[str, str]
    rounds: tuple[Round, ...]
    errors: Mapping[str, str]


@dataclass(frozen=True)
class Result:
    """One benchmark of one subject.

    Attributes:
        subject: Preset.
        commit: Of this repository; ``-dirty`` where files differ from it.
        machine: What measured.
        loads: Load average at the start of every round.
        eager: Median seconds of one step in PyTorch's eager mode.
        rows: The peers; the reference comes first.
    """

    subject: str
    commit: str
    machine: Mapping[str, str]
    loads: tuple[float, ...]
    eager: float
    rows: tuple[Row, ...]

    def cells(self, row: Row) -> dict[str, Cell | None]:
        """Every figure of a row beside the reference."""
        reference = self.rows[0].rounds
        return {one.key: cell(one.key, row.rounds, reference) for one in FIGURES}

    def to_json(self) -> dict[str, Any]:
        """Summaries and every single measurement, in seconds, bytes and shares of one."""
        return {
            "subject": self.subject,
            "commit": self.commit,
            "machine": dict(self.machine),
            "load": list(self.loads),
            "eager": self.eager,
            "peers": {row.peer.name: self._row(row) for row in self.rows},
        }

    def _row(self, row: Row) -> dict[str, Any]:
        cells = self.cells(row).items()
        return {
            "title": row.peer.title,
            "versions": dict(row.versions),
            "errors": dict(row.errors),
            "figures": {key: asdict(found) for key, found in cells if found},
            "rounds": [dict(one) for one in row.rounds],
        }
