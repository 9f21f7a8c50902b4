"""Rounds of all peers, one after another, on one checkpoint made for the occasion."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench_tools import machine
from bench_tools.environment import ROOT, SetupError
from bench_tools.peer import Job, Peer
from bench_tools.plan import Plan
from bench_tools.process import RunError, run, run_worker
from bench_tools.record import Record
from bench_tools.result import Result
from bench_tools.steps import OF_THE_GRAPH, STAGE, STEPS, twin

OnStep = Callable[[str], None]
OnResult = Callable[[Result], None]


def measure(
    plan: Plan,
    on_step: OnStep,
    on_result: OnResult = lambda _: None,
    earlier: Result | None = None,
) -> Result:
    """Makes the environments and the checkpoint, runs all rounds, and removes what they wrote.

    An interrupt ends the rounds; what they have measured so far is the result.

    Args:
        plan: What to measure.
        on_step: Told one line after every step.
        on_result: Given what is known after every peer of every round.
        earlier: An interrupted result to go on with; what it has is not measured again.

    Raises:
        RunError: The checkpoint cannot be made, or ``earlier`` is not of this plan.
    """
    before = None if earlier is None else _guard_earlier(earlier, plan)
    records = [_prepared(peer, plan.cache, on_step) for peer in plan.peers]
    if before is not None:
        for record in records:
            record.restore(before)
    with _workspace(plan.cache) as folder:
        on_step(f"checkpoint and reference of {plan.subject}")
        rounds = _Rounds(plan, folder, records, before, _make_subject(plan, folder))
        try:
            for number in range(plan.runs):
                rounds.go(number, on_step, on_result)
        except KeyboardInterrupt:
            on_step("interrupted: the table has what was measured; --resume goes on")
    return rounds.result()


class _Rounds:
    """All rounds over one checkpoint.

    Attributes:
        plan: What to measure.
        folder: Where the checkpoint lies and everyone writes.
        records: What is known of each peer.
        loads: Load average at the start of every round.
    """

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        records: list[Record],
        earlier: Result | None,
        eager: float,
    ) -> None:
        self.plan, self.folder, self.records = plan, folder, records
        self.loads = list(earlier.loads) if earlier else []
        self._resumed = earlier.resumed + 1 if earlier else 0
        self._eager, self._commit = eager, _commit()

    def result(self) -> Result:
        """What is known by now."""
        return Result(
            subject=self.plan.subject,
            commit=self._commit,
            machine=machine.describe(),
            loads=tuple(self.loads),
            eager=self._eager,
            rows=tuple(record.row() for record in self.records),
            resumed=self._resumed,
        )

    def go(self, number: int, on_step: OnStep, on_result: OnResult) -> None:
        """One round; peers that have it already are passed over."""
        if all(len(record.rounds) > number for record in self.records):
            return
        self.loads.append(machine.load())
        for at, record in enumerate(self.records):
            if len(record.rounds) > number:
                continue
            figures = self._one(record, self.records[:at])
            record.rounds.append(figures)
            step = f"round {number + 1}/{self.plan.runs}, {record.peer.name}"
            on_step(f"{step}: {_line(figures)}")
            on_result(self.result())
            self._tidy(at)

    def _one(self, record: Record, before: Sequence[Record]) -> dict[str, float]:
        figures: dict[str, float] = {}
        if record.bin is None:
            return figures
        job, same = self._job(record, record.bin), None
        for name, take in STEPS.items():
            if "export" in record.errors:
                break
            if name in record.errors or (same is not None and name in OF_THE_GRAPH):
                continue
            try:
                if name == "export":
                    self._provide(record)
                figures.update(take(record, job, self.plan))
                if name == "export":
                    same = twin(record, job, before)
            except RunError as error:
                record.errors[name] = str(error)
        return figures

    def _job(self, record: Record, bin: Path) -> Job:
        source = self._source(record)
        checkpoint = self.folder / "checkpoint"
        return Job(
            bin=bin,
            checkpoint=checkpoint,
            source=checkpoint if source is None else _target(source.peer, self.folder),
            target=_target(record.peer, self.folder),
            report=self.folder / f"{record.peer.name}.json",
        )

    def _source(self, record: Record) -> Record | None:
        return next((one for one in self.records if one.peer.name == record.peer.source), None)

    def _provide(self, record: Record) -> None:
        """Writes what this peer builds on again, untimed: after an interruption it is gone."""
        source = self._source(record)
        if source is None or source.bin is None or "export" in source.errors:
            return
        job = self._job(source, source.bin)
        if source.peer.command is not None and not job.target.exists():
            job.target.parent.mkdir(exist_ok=True)
            run(source.peer.command(job), ROOT, self.plan.limit)

    def _tidy(self, at: int) -> None:
        """Removes what no peer of this round still takes: each result is gigabytes."""
        wanted = {record.peer.source for record in self.records[at + 1 :]}
        for record in self.records[: at + 1]:
            if record.peer.name in wanted:
                continue
            target = _target(record.peer, self.folder)
            if record.peer.beside_checkpoint:
                target.unlink(missing_ok=True)
            else:
                shutil.rmtree(target.parent, ignore_errors=True)


def _guard_earlier(earlier: Result, plan: Plan) -> Result:
    """An earlier result that this plan can go on with.

    Raises:
        RunError: It is of other peers, another commit or another machine.
    """
    for what, had, has in (
        ("peers", [row.peer.name for row in earlier.rows], [peer.name for peer in plan.peers]),
        ("commit", earlier.commit, _commit()),
        ("machine", dict(earlier.machine), machine.describe()),
    ):
        if had != has:
            raise RunError(f"--resume: the results are of another {what}: {had}, not {has}")
    return earlier


def _make_subject(plan: Plan, folder: Path) -> float:
    """Writes the checkpoint and one step's inputs and output; seconds of that step."""
    checkpoint, python = folder / "checkpoint", plan.python
    made = run_worker("checkpoint", python, plan.limit, plan.subject, "{}", checkpoint)
    _guard_room(folder, made["bytes"])
    reference = folder / "reference.npz"
    took: dict[str, float] = run_worker("reference", python, plan.limit, checkpoint, reference)
    return took["eager"]


def _prepared(peer: Peer, cache: Path, on_step: OnStep) -> Record:
    record = Record(peer)
    try:
        record.bin = peer.environment.prepare(cache)
        record.versions = peer.environment.versions(cache)
    except SetupError as error:
        record.errors["environment"] = str(error)
        on_step(f"{peer.name}: no environment: {error}")
    return record


def _line(figures: dict[str, float]) -> str:
    shown = {key: value for key, value in figures.items() if not key.startswith(STAGE)}
    return ", ".join(f"{key} {value:.4g}" for key, value in shown.items()) or "nothing"


def _target(peer: Peer, folder: Path) -> Path:
    if peer.beside_checkpoint:
        return folder / peer.writes
    return folder / peer.name / peer.writes


@contextmanager
def _workspace(cache: Path) -> Iterator[Path]:
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="work-", dir=cache) as folder:
        yield Path(folder)


def _guard_room(folder: Path, weights: int) -> None:
    """Beside the checkpoint lie one peer's copy of the weights and one taken from that."""
    need = 2.1 * weights
    free = shutil.disk_usage(folder).free
    if free < need:
        raise RunError(
            f"{free / 1e9:.0f} GB are free at --cache, {need / 1e9:.0f} GB are needed"
        )


def _commit() -> str:
    git = ["git", "describe", "--always", "--dirty", "--abbrev=10"]
    done = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
