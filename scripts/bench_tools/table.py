"""A result for people, as Markdown: table, goals and profile."""

from __future__ import annotations

from collections.abc import Iterator

from bench_tools import profile
from bench_tools.figures import FIGURES, Cell, Figure, ratio_text
from bench_tools.goals import Goal, goals
from bench_tools.result import Result, Row

NOTE = """\
Medians over {rounds} interleaved rounds{last}; × is the ratio to the first row: median, and
(lowest to highest), of the ratios within each round. Export is the whole process from start to
exit, imports included, under GNU time; peak memory is its largest process, mapped files
included. Operators leave out Constants and Transposes of weights. Session and step: ONNX
Runtime {runtime} on the CPU for every graph, 1x4x32x32 with 77 tokens; PyTorch's eager mode
takes {eager} for that step, and the largest difference is to its output. First drawn: once,
headless Chromium, from being sent to the page to the graph's first elements; .onnx files in
Netron, torchviz' by Graphviz as a whole."""


def markdown(result: Result) -> str:
    """Table, goals and profile, with what was run and where."""
    titles = ["", *(figure.title for figure in FIGURES)]
    lines = [
        f"## {_title(result)}",
        "",
        "| " + " | ".join(titles) + " |",
        "|---" + "|---:" * len(FIGURES) + "|",
    ]
    for row in result.rows:
        cells = ["<br>".join(cell) for cell in (_head(result, row), *_cells(result, row))]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    lines += ["", note(result), "", _where(result), ""]
    for title, found in _sections(result):
        lines += [f"### {title}", "", *found, ""]
    lines += ["### Versions", ""]
    for row in result.rows:
        versions = ", ".join(f"{name} {value}" for name, value in row.versions.items())
        lines.append(f"- {row.peer.title}: {versions or 'none'}")
    return "\n".join([*lines, ""])


def note(result: Result) -> str:
    """How the figures are to be read."""
    runtime = result.machine.get("ONNX Runtime", "")
    rounds = [len(row.rounds) for row in result.rows]
    last = ", the last of them unfinished" if min(rounds) < max(rounds) else ""
    if result.resumed:
        last += f", resumed after {result.resumed} interruption(s)"
    eager = f"{result.eager:.3g} s"
    return NOTE.format(rounds=max(rounds), last=last, runtime=runtime, eager=eager)


def _where(result: Result) -> str:
    machine = "; ".join(f"{name}: {value}" for name, value in result.machine.items())
    loads = ", ".join(f"{load:.1f}" for load in result.loads)
    return (
        f"Machine: {machine}. Load average at the start of each round: {loads}. "
        f"Commit {result.commit}."
    )


def _title(result: Result) -> str:
    return f"{result.subject}: UNet Atlas beside its peers"


def _head(result: Result, row: Row) -> list[str]:
    """A peer that failed says at what, and why; one whose graph another has, says whose."""
    failures = (f"{step} failed: {error}" for step, error in row.errors.items())
    twin = result.twin(row)
    same = [f"the very graph of “{twin.peer.title}”: run and drawn there"] if twin else []
    return [row.peer.title, *same, *failures]


def _cells(result: Result, row: Row) -> list[list[str]]:
    cells = result.cells(row)
    return [_lines(figure, cells[figure.key], row is result.rows[0]) for figure in FIGURES]


def _lines(figure: Figure, found: Cell | None, reference: bool) -> list[str]:
    if found is None:
        return ["–"]
    compared = figure.compared and not reference
    ratio = ratio_text(found) if compared else ""
    return [figure.show(found.median), *([ratio] if ratio else [])]


def _goals(found: list[Goal]) -> list[str]:
    if not found:
        return []
    lines = ["| goal | at most | measured | |", "|---|---:|---:|---|"]
    for one in found:
        cells = (one.title, one.show(one.limit), one.measured, one.verdict)
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _sections(result: Result) -> Iterator[tuple[str, list[str]]]:
    """What stands under the table, where there is something to tell."""
    if lines := _goals(goals(result)):
        yield "Goals", lines
    if lines := profile.markdown(profile.profiles(result)):
        yield "Profile by stage", lines
