"""Rounds of all peers, one after another, on one checkpoint made for the occasion."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench_tools import machine
from bench_tools.environment import PROJECT, ROOT, SetupError
from bench_tools.peer import Job, Peer
from bench_tools.process import RunError, run_worker, timed
from bench_tools.result import Result, Row

OnStep = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Attributes:
        subject: Preset.
        peers: Who, in the order of a round; the reference first.
        runs: Rounds.
        cache: Where environments are kept and files are written meanwhile.
        limit: Seconds after which one command is given up.
    """

    subject: str
    peers: tuple[Peer, ...]
    runs: int
    cache: Path
    limit: float


@dataclass
class _Record:
    """What is known of one peer so far."""

    peer: Peer
    bin: Path | None = None
    versions: dict[str, str] = field(default_factory=dict)
    rounds: list[dict[str, float]] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)


def measure(plan: Plan, on_step: OnStep) -> Result:
    """Makes the environments and the checkpoint, runs all rounds, and removes what they wrote.

    An interrupt ends the rounds; what they have measured so far is the result.

    Args:
        plan: What to measure.
        on_step: Told one line after every step.

    Raises:
        RunError: The checkpoint cannot be made.
    """
    records = [_prepared(peer, plan.cache, on_step) for peer in plan.peers]
    loads = []
    with _workspace(plan.cache) as folder:
        on_step(f"checkpoint and reference of {plan.subject}")
        eager = _make_subject(plan, folder)
        try:
            for number in range(plan.runs):
                loads.append(machine.load())
                _all_peers(number, records, plan, folder, on_step)
        except KeyboardInterrupt:
            on_step("interrupted: the table has what was measured")
    return Result(
        subject=plan.subject,
        commit=_commit(),
        machine=machine.describe(),
        loads=tuple(loads),
        eager=eager,
        rows=tuple(
            Row(one.peer, one.versions, tuple(one.rounds), one.errors) for one in records
        ),
    )


def _all_peers(
    number: int, records: list[_Record], plan: Plan, folder: Path, on_step: OnStep
) -> None:
    for at, record in enumerate(records):
        step = f"round {number + 1}/{plan.runs}, {record.peer.name}"
        on_step(f"{step}: {_round(record, plan, folder)}")
        _tidy(records[: at + 1], plan.peers[at + 1 :], folder)


def _make_subject(plan: Plan, folder: Path) -> float:
    """Writes the checkpoint and one step's inputs and output; seconds of that step."""
    checkpoint, python = folder / "checkpoint", _python(plan)
    made = run_worker("checkpoint", python, plan.limit, plan.subject, "{}", checkpoint)
    _guard_room(folder, made["bytes"])
    reference = folder / "reference.npz"
    took: dict[str, float] = run_worker("reference", python, plan.limit, checkpoint, reference)
    return took["eager"]


def _prepared(peer: Peer, cache: Path, on_step: OnStep) -> _Record:
    record = _Record(peer)
    try:
        record.bin = peer.environment.prepare(cache)
        record.versions = peer.environment.versions(cache)
    except SetupError as error:
        record.errors["environment"] = str(error)
        on_step(f"{peer.name}: no environment: {error}")
    return record


def _round(record: _Record, plan: Plan, folder: Path) -> str:
    """One round of one peer; what it measured, as a line."""
    figures: dict[str, float] = {}
    record.rounds.append(figures)
    if record.bin is None:
        return "no environment"
    peers = {peer.name: peer for peer in plan.peers}
    source = peers[record.peer.source] if record.peer.source else None
    job = Job(
        bin=record.bin,
        checkpoint=folder / "checkpoint",
        source=_target(source, folder) if source else folder / "checkpoint",
        target=_target(record.peer, folder),
    )
    for step, take in (
        ("export", _export), ("graph", _anatomy), ("run", _session), ("draw", _drawing),
    ):  # fmt: skip
        try:
            figures.update(take(record, job, plan))
        except RunError as error:
            record.errors.setdefault(step, str(error))
            if step == "export":
                break
    return ", ".join(f"{key} {value:.4g}" for key, value in figures.items()) or "failed"


def _export(record: _Record, job: Job, plan: Plan) -> dict[str, float]:
    if not job.source.exists():
        raise RunError(f"{record.peer.source} has written nothing to take")
    if record.peer.command is None:
        return {}
    folder = job.checkpoint.parent
    job.target.parent.mkdir(exist_ok=True)
    before = _files(folder)
    took = timed(record.peer.command(job), ROOT, plan.limit)
    written = sum(stat[0] for path, stat in _files(folder).items() if before.get(path) != stat)
    return {"wall": took.wall, "cpu": took.cpu, "memory": took.memory, "written": written}


def _anatomy(record: _Record, job: Job, plan: Plan) -> dict[str, float]:
    """Once: the same input gives the same graph."""
    if record.peer.command is None or any("nodes" in one for one in record.rounds):
        return {}
    found: dict[str, float] = run_worker(
        "anatomy", _python(plan), plan.limit, job.target, job.checkpoint
    )
    return found


def _session(record: _Record, job: Job, plan: Plan) -> dict[str, float]:
    if not record.peer.runs:
        return {}
    reference = job.checkpoint.parent / "reference.npz"
    found: dict[str, float] = run_worker(
        "session", _python(plan), plan.limit, job.target, reference
    )
    return found


def _drawing(record: _Record, job: Job, plan: Plan) -> dict[str, float]:
    viewer = record.peer.viewer
    if viewer is None:
        return {}
    shown = job.source if record.peer.command is None else job.target
    bin = PROJECT.bin(plan.cache) if viewer == "netron" else job.bin
    found: dict[str, float] = run_worker(
        "browser", _python(plan), plan.limit, viewer, bin, shown
    )
    return found


def _target(peer: Peer, folder: Path) -> Path:
    if peer.beside_checkpoint:
        return folder / peer.writes
    return folder / peer.name / peer.writes


def _python(plan: Plan) -> Path:
    return PROJECT.bin(plan.cache) / "python"


def _files(folder: Path) -> dict[Path, tuple[int, int]]:
    """Size and time of every file below."""
    stats = ((path, path.stat()) for path in folder.rglob("*") if path.is_file())
    return {path: (stat.st_size, stat.st_mtime_ns) for path, stat in stats}


def _tidy(done: Sequence[_Record], ahead: Sequence[Peer], folder: Path) -> None:
    """Removes what no peer of this round still takes: each result is gigabytes."""
    wanted = {peer.source for peer in ahead}
    for record in done:
        if record.peer.name in wanted:
            continue
        target = _target(record.peer, folder)
        if record.peer.beside_checkpoint:
            target.unlink(missing_ok=True)
        else:
            shutil.rmtree(target.parent, ignore_errors=True)


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
