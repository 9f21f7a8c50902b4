"""An outcome as GitHub-flavoured Markdown, for a CI job's summary."""

from __future__ import annotations

from collections.abc import Iterable

from exporter.parity.outcome import Outcome
from exporter.parity.render.words import HEADER, drift, facts, failures, row, searched


def markdown(outcome: Outcome) -> str:
    """The same as the terminal's table, as text to append to a job summary."""
    verdict = f"{outcome.verdict} {'✅' if outcome.passed else '❌'}"
    lines = [f"## Parity of `{outcome.file}`: {verdict}", "", _line(HEADER)]
    lines.append(_line("---" for _ in HEADER))
    lines += [_line(row(result)) for result in outcome.report.cases]
    lines.append("")
    lines += [f"- {_escape(line)}" for line in failures(outcome)]
    lines += [f"- {_escape(drift(run))}" for run in outcome.trajectories]
    lines += [f"- {_escape(line)}" for line in searched(outcome)]
    lines += ["", "<details><summary>Taken with</summary>", "", "| | |", "|---|---|"]
    lines += [_line(fact) for fact in facts(outcome)]
    lines += ["", "</details>", ""]
    return "\n".join(lines)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(_escape(cell) for cell in cells)} |"


def _escape(text: str) -> str:
    for char in ("\\", "|", "*", "_", "<"):
        text = text.replace(char, "\\" + char)
    return text
