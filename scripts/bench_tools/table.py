"""One table of a result, for the terminal and as Markdown."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from bench_tools.figures import FIGURES, Cell, Figure, ratio_text
from bench_tools.result import Result, Row

NOTE = """\
Medians over {rounds} interleaved rounds; × is the ratio to the first row: median, and (lowest
to highest), of the ratios within each round. Export is the whole process from start to exit,
imports included, under GNU time; peak memory is its largest process, mapped files included.
Operators leave out Constants and Transposes of weights. Session and step: ONNX Runtime
{runtime} on the CPU for every graph, 1x4x32x32 with 77 tokens; PyTorch's eager mode takes
{eager} for that step, and the largest difference is to its output. First drawn: headless
Chromium, from being sent to the page to the graph's first elements; .onnx files in Netron."""


def terminal(result: Result) -> Table:
    """For rich; one line a figure and one for its ratio."""
    table = Table(title=_title(result), caption=note(result), show_lines=True)
    table.add_column(min_width=24)
    for figure in FIGURES:
        table.add_column(figure.title, justify="right")
    for row in result.rows:
        lines = [_head(row), *_cells(result, row)]
        table.add_row(*(escape("\n".join(cell)) for cell in lines))
    return table


def markdown(result: Result) -> str:
    """The same table with what was run and where."""
    titles = ["", *(figure.title for figure in FIGURES)]
    lines = [
        f"## {_title(result)}",
        "",
        "| " + " | ".join(titles) + " |",
        "|---" + "|---:" * len(FIGURES) + "|",
    ]
    for row in result.rows:
        cells = ["<br>".join(cell) for cell in (_head(row), *_cells(result, row))]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    versions = [
        f"- {row.peer.title}: "
        + (", ".join(f"{name} {value}" for name, value in row.versions.items()) or "none")
        for row in result.rows
    ]
    machine = "; ".join(f"{name}: {value}" for name, value in result.machine.items())
    loads = ", ".join(f"{load:.1f}" for load in result.loads)
    return "\n".join(
        [
            *lines,
            "",
            note(result),
            "",
            f"Machine: {machine}. Load average at the start of each round: {loads}. "
            f"Commit {result.commit}.",
            "",
            *versions,
            "",
        ]
    )


def note(result: Result) -> str:
    """How the figures are to be read."""
    runtime = result.rows[0].versions.get("onnxruntime-gpu", "")
    rounds = max(len(row.rounds) for row in result.rows)
    return NOTE.format(rounds=rounds, runtime=runtime, eager=f"{result.eager:.3g} s")


def _title(result: Result) -> str:
    return f"{result.subject}: UNet Atlas beside its peers"


def _head(row: Row) -> list[str]:
    """A peer that failed says at what, and why."""
    failures = (f"{step} failed: {error}" for step, error in row.errors.items())
    return [row.peer.title, *failures]


def _cells(result: Result, row: Row) -> list[list[str]]:
    cells = result.cells(row)
    return [_lines(figure, cells[figure.key], row is result.rows[0]) for figure in FIGURES]


def _lines(figure: Figure, found: Cell | None, reference: bool) -> list[str]:
    if found is None:
        return ["–"]
    compared = figure.compared and not reference
    ratio = ratio_text(found) if compared else ""
    return [figure.show(found.median), *([ratio] if ratio else [])]
