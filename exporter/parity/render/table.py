"""An outcome on a terminal."""

from __future__ import annotations

from rich.console import Group, JustifyMethod, RenderableType
from rich.table import Table
from rich.text import Text

from exporter.parity.outcome import Outcome
from exporter.parity.render.words import HEADER, drift, facts, failures, row, searched


def table(outcome: Outcome) -> RenderableType:
    """The cases as a table, what they were taken with, and every finding below."""
    cases = Table(title=f"{outcome.file} against PyTorch", box=None, padding=(0, 1, 0, 0))
    for name in HEADER:
        side: JustifyMethod = "left" if name in ("case", "verdict") else "right"
        cases.add_column(name, justify=side, no_wrap=True)
    for result in outcome.report.cases:
        cases.add_row(*row(result), style="" if result.passed else "red")
    about = Table.grid(padding=(0, 2))
    for name, text in facts(outcome):
        about.add_row(Text(name, style="dim"), Text(text))
    lines: list[RenderableType] = [cases, about]
    lines += [Text(line, style="red") for line in failures(outcome)]
    lines += [Text(drift(run)) for run in outcome.trajectories]
    lines += [Text(line) for line in searched(outcome)]
    lines.append(
        Text(f"parity {outcome.verdict}", style="green" if outcome.passed else "bold red")
    )
    return Group(*lines)
