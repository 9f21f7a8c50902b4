"""What an export says at its end, for people: a table, or a line among many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from exporter.errors import AtlasError
from exporter.terminal import in_bytes

if TYPE_CHECKING:
    from exporter.parity.report import ParityReport
    from exporter.report import ExportReport, VariantReport


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
        + (f"{roles.image_prompt} image prompts, " if roles.image_prompt else "")
        + f"{roles.time_injection} time injections, {roles.skip} skips, "
        f"{roles.downsample} down, {roles.upsample} up",
    )
    random = " RANDOM WEIGHTS:" if weights["source"] == "random" else ""
    table.add_row(
        "weights",
        f"{random} {weights['description']}; {weights['parameters']:,} parameters, "
        f"{weights['dtype']}, {in_bytes(weights['bytes'])}, {_placed(weights)}".strip(),
    )
    if random:
        table.add_row("for an image", "use trained weights: --model FOLDER or --model shapes")
    table.add_row("parity", _parity(report.parity))
    if report.variant is not None:
        table.add_row("ort variant", _variant(report.variant))
    stages = ", ".join(f"{stage.name} {stage.seconds:.1f}" for stage in report.stages)
    table.add_row("seconds", f"{report.seconds:.1f} ({stages})")
    table.add_row("peak memory", in_bytes(report.peak_memory))
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
    worst, word = parity.worst, "[green]passed[/]"
    if parity.unprovable:
        word = f"[yellow]not provable[/] in {parity.dtype}: {', '.join(parity.unprovable)};"
    return (
        f"{word} {len(parity.cases)} cases on {parity.provider_used}; "
        f"worst {worst.name}: {worst.verdict.removeprefix('passed: ')}"
    )
