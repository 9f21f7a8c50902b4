"""An outcome as GitHub's workflow commands: what went wrong, beside the run that it failed.

https://docs.github.com/actions/reference/workflow-commands-for-github-actions
"""

from __future__ import annotations

from exporter.parity.outcome import Outcome
from exporter.parity.render.words import drift, failures, searched


def workflow_commands(outcome: Outcome) -> str:
    """One notice where it passed; else an error that names the module, or each failed case."""
    if outcome.passed:
        worst = outcome.report.worst
        return _command("notice", outcome, "parity", f"worst {worst.name}: {worst.verdict}")
    finding = outcome.location.finding if outcome.location else None
    drifted = (drift(run) for run in outcome.trajectories if not run.passed)
    told = [*failures(outcome), *drifted]
    if finding is None:
        return "".join(_command("error", outcome, "parity", line) for line in told)
    text = "\n".join([*searched(outcome), *told])
    return _command("error", outcome, finding.module or "the UNet itself", text)


def _command(kind: str, outcome: Outcome, about: str, text: str) -> str:
    title = _escape(f"{outcome.file}: {about}").replace(":", "%3A").replace(",", "%2C")
    return f"::{kind} title={title}::{_escape(text)}\n"


def _escape(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
