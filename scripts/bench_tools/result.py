"""What a benchmark found, as values and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
        graph: Digest of the graph it wrote last; empty where that is no .onnx.
    """

    peer: Peer
    versions: Mapping[str, str]
    rounds: tuple[Round, ...]
    errors: Mapping[str, str]
    graph: str = ""


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
        resumed: How often it was interrupted and gone on with.
    """

    subject: str
    commit: str
    machine: Mapping[str, str]
    loads: tuple[float, ...]
    eager: float
    rows: tuple[Row, ...]
    resumed: int = 0

    @classmethod
    def from_json(cls, plain: Mapping[str, Any], peers: Iterable[Peer]) -> Result:
        """What ``to_json`` gave; its peers are looked up by name.

        Raises:
            KeyError: It is not a result, or one of a peer that is no more.
        """
        known = {peer.name: peer for peer in peers}
        rows = (
            Row(known[name], row["versions"], row["rounds"], row["errors"], row["graph"])
            for name, row in plain["peers"].items()
        )
        return cls(
            subject=plain["subject"],
            commit=plain["commit"],
            machine=plain["machine"],
            loads=tuple(plain["load"]),
            eager=plain["eager"],
            rows=tuple(rows),
            resumed=plain["resumed"],
        )

    def row(self, name: str) -> Row | None:
        """The peer of that name, if it took part."""
        return next((row for row in self.rows if row.peer.name == name), None)

    def twin(self, row: Row) -> Row | None:
        """The first row whose graph is this row's: its session and drawing are this one's."""
        if not row.graph:
            return None
        first = next(one for one in self.rows if one.graph == row.graph)
        return None if first is row else first

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
            "resumed": self.resumed,
            "peers": {row.peer.name: self._row(row) for row in self.rows},
        }

    def _row(self, row: Row) -> dict[str, Any]:
        cells = self.cells(row).items()
        return {
            "title": row.peer.title,
            "versions": dict(row.versions),
            "errors": dict(row.errors),
            "graph": row.graph,
            "figures": {key: asdict(found) for key, found in cells if found},
            "rounds": [dict(one) for one in row.rounds],
        }
