"""The four things that are measured of one peer in one round."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from bench_tools.digest import graph_digest
from bench_tools.environment import PROJECT, ROOT
from bench_tools.peer import Job
from bench_tools.plan import Plan
from bench_tools.process import RunError, run_worker, timed
from bench_tools.record import Record

STAGE = "stage."
"""What begins the key of a stage of our own exporter."""


def measure_export(record: Record, job: Job, plan: Plan) -> dict[str, float]:
    """The export's time, memory and bytes, and its stages where it reports them."""
    if not job.source.exists():
        raise RunError(f"{record.peer.source} has written nothing to take")
    if record.peer.command is None:
        return {}
    folder = job.checkpoint.parent
    job.target.parent.mkdir(exist_ok=True)
    before = _files(folder)
    took = timed(record.peer.command(job), ROOT, plan.limit)
    written = sum(
        stat[0]
        for path, stat in _files(folder).items()
        if before.get(path) != stat and path != job.report  # only this benchmark asks for it
    )
    figures = {"wall": took.wall, "cpu": took.cpu, "memory": took.memory, "written": written}
    return {**figures, **_stages(job.report)}


def measure_graph(record: Record, job: Job, plan: Plan) -> dict[str, float]:
    """What the graph consists of. Once: the same input gives the same graph."""
    if record.peer.command is None or _has(record, "nodes"):
        return {}
    found: dict[str, float] = run_worker(
        "anatomy", plan.python, plan.limit, job.target, job.checkpoint
    )
    return found


def measure_run(record: Record, job: Job, plan: Plan) -> dict[str, float]:
    """A session's creation and its steps."""
    if not record.peer.runs:
        return {}
    reference = job.checkpoint.parent / "reference.npz"
    found: dict[str, float] = run_worker(
        "session", plan.python, plan.limit, job.target, reference
    )
    return found


def measure_drawing(record: Record, job: Job, plan: Plan) -> dict[str, float]:
    """The first drawing. Once: of a large graph it takes as long as an export."""
    viewer = record.peer.viewer
    if viewer is None or _has(record, "drawn"):
        return {}
    shown = job.source if record.peer.command is None else job.target
    if viewer == "graphviz":
        return {"drawn": _laid_out(shown, plan.layout)}
    bin = PROJECT.bin(plan.cache) if viewer == "netron" else job.bin
    found: dict[str, float] = run_worker(
        "browser", plan.python, plan.limit, viewer, bin, shown
    )
    return found


Step = Callable[[Record, Job, Plan], dict[str, float]]
STEPS: dict[str, Step] = {
    "export": measure_export,
    "graph": measure_graph,
    "run": measure_run,
    "draw": measure_drawing,
}
OF_THE_GRAPH = ("run", "draw")
"""Steps whose outcome another peer's equal graph has already given."""


def twin(record: Record, job: Job, before: Sequence[Record]) -> Record | None:
    """A peer that ran earlier in the round and wrote the very same graph; notes the digest."""
    if record.peer.command is None or job.target.suffix != ".onnx":
        return None
    record.graph = graph_digest(job.target)
    return next((one for one in before if one.graph == record.graph), None)


def _has(record: Record, key: str) -> bool:
    return any(key in one for one in record.rounds)


def _laid_out(dot: Path, limit: float) -> float:
    """Seconds in which Graphviz draws a file as SVG."""
    command = ["dot", "-Tsvg", str(dot), "-o", str(dot.with_suffix(".svg"))]
    try:
        return timed(command, ROOT, limit).wall
    except RunError as error:
        raise RunError(f"Graphviz' layout: {error}") from error


def _stages(report: Path) -> dict[str, float]:
    if not report.exists():
        return {}
    stages = json.loads(report.read_text())["stages"]
    return {f"{STAGE}{one['name']}": one["seconds"] for one in stages}


def _files(folder: Path) -> dict[Path, tuple[int, int]]:
    """Size and time of every file below."""
    stats = ((path, path.stat()) for path in folder.rglob("*") if path.is_file())
    return {path: (stat.st_size, stat.st_mtime_ns) for path, stat in stats}
