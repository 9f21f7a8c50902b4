"""Progress lines and the closing table, for people."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn
from rich.table import Table

from exporter.errors import AtlasError

if TYPE_CHECKING:
    from exporter.parity import ParityReport
    from exporter.report import ExportReport, VariantReport
    from exporter.types import Progress as Event


class StageDisplay:
    """One line per stage with its time; silent when stderr is not a terminal."""

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        self._bars = Progress(
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("{task.description:<10}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[note]}"),
            console=console,
            disable=quiet or not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._started: dict[str, float] = {}

    def __enter__(self) -> StageDisplay:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def start(self, stage: str) -> TaskID:
        """Shows a stage as running."""
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=None, note="")
            self._started[stage] = time.perf_counter()
        return self._tasks[stage]

    def finish(self, stage: str, seconds: float | None = None) -> None:
        """Shows a stage as done, with its time."""
        taken = time.perf_counter() - self._started[stage] if seconds is None else seconds
        task = self.start(stage)
        self._bars.update(task, total=1, completed=1, note=f"{taken:.1f} s")

    def progress(self, event: Event) -> None:
        """The ``OnProgress`` to hand to core code."""
        task = self.start(event.stage)
        if event.record is not None:
            self.finish(event.stage, event.record.seconds)
        elif event.total:
            note = _amount(event.done, event.total, event.unit)
            self._bars.update(task, total=event.total, completed=event.done, note=note)

    def clear(self) -> None:
        """Forgets all stages: the next export starts its own."""
        for task in self._tasks.values():
            self._bars.remove_task(task)
        self._tasks.clear()


def one_line(name: str, result: ExportReport | AtlasError) -> str:
    """One of many exports: its name, verdict and time."""
    if isinstance(result, AtlasError):
        return f"[red]failed[/]  {escape(name)}: {escape(str(result))}"
    return f"{_parity(result.parity)}  {escape(name)}  {result.seconds:.1f} s"


def outcome(result: ExportReport | AtlasError) -> dict[str, Any]:
    """One of many exports as JSON values."""
    if isinstance(result, AtlasError):
        return {"error": str(result), "exit_code": result.exit_code}
    return result.to_json()


def closing_table(report: ExportReport) -> Table:
    """Nodes, functions, roles, weights, parity, times and memory of one export."""
    table = Table(title=f"{report.target.name}: {report.class_name} of {report.model}")
    table.add_column()
    table.add_column()
    roles, weights = report.roles, report.weights
    table.add_row(
        "nodes",
        f"{report.nodes_traced:,} traced -> {report.nodes_flat:,} flat "
        f"({report.nodes_flat - report.weight_transposes:,} without weight Transposes) -> "
        f"{report.nodes_top:,} at top level, {report.functions:,} functions, "
        f"opset {report.opset}",
    )
    table.add_row(
        "roles",
        f"{roles.cross_attention} cross-attentions, {roles.self_attention} self-attentions, "
        + (f"{roles.joint_attention} joint attentions, " if roles.joint_attention else "")
        + f"{roles.time_injection} time injections, {roles.skip} skips, "
        f"{roles.downsample} down, {roles.upsample} up",
    )
    random = " RANDOM WEIGHTS:" if weights["source"] == "random" else ""
    table.add_row(
        "weights",
        f"{random} {weights['description']}; {weights['parameters']:,} parameters, "
        f"{weights['dtype']}, {_bytes(weights['bytes'])}, {_placed(weights)}".strip(),
    )
    table.add_row("parity", _parity(report.parity))
    if report.variant is not None:
        table.add_row("ort variant", _variant(report.variant))
    stages = ", ".join(f"{stage.name} {stage.seconds:.1f}" for stage in report.stages)
    table.add_row("seconds", f"{report.seconds:.1f} ({stages})")
    table.add_row("peak memory", _bytes(report.peak_memory))
    return table


def _placed(weights: object) -> str:
    assert isinstance(weights, dict)
    files = ", ".join(weights["files"])
    return f"linked in {files}" if weights["mode"] == "link" else f"copied to {files}"


def _variant(variant: VariantReport) -> str:
    fusions = ", ".join(f"{count} {name}" for name, count in variant.fusions.items())
    return (
        f"{escape(variant.target.name)}, {variant.nodes:,} nodes, for {variant.provider}: "
        f"{fusions}; {_parity(variant.parity)}"
    )


def _parity(parity: ParityReport | None) -> str:
    if parity is None:
        return "[yellow]not checked"
    worst = parity.worst
    return (
        f"[green]passed[/] {len(parity.cases)} cases on {parity.provider_used}; "
        f"worst {worst.name}: {worst.verdict.removeprefix('passed: ')}"
    )


def _amount(done: float, total: float, unit: str) -> str:
    if unit == "B":
        return f"{_bytes(done)} of {_bytes(total)}"
    return f"{done:.0f} of {total:.0f} {unit}"


def _bytes(count: float) -> str:
    for unit in ("B", "KB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.2f} GB"
