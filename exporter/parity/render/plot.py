"""Drift over a sampling run as one SVG: a line for each scheduler, its noise floor dashed."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

from matplotlib import rc_context
from matplotlib.figure import Figure

from exporter.parity.trajectory import Trajectory

# Text stays text, names are never TeX, and the same runs give the same bytes.
_STYLE = {"svg.fonttype": "none", "svg.hashsalt": "", "text.parse_math": False}
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # told apart by the colour-blind too


def plot(runs: Sequence[Trajectory], title: str) -> str:
    """A self-contained SVG; relative drift on a logarithmic axis against the step.

    Args:
        runs: At least one trajectory.
        title: What is drawn above it.
    """
    with rc_context(_STYLE):
        figure = Figure(figsize=(7.5, 4.4), layout="constrained")
        axes = figure.subplots()
        axes.set(title=title, xlabel="step", ylabel="relative drift of the latents")
        axes.set_yscale("log")
        axes.grid(axis="y", color="#ddd")
        for index, run in enumerate(runs):
            colour = _COLOURS[index % len(_COLOURS)]
            steps = range(1, len(run.steps) + 1)
            floor = f"{run.ratio:.2g}x the floor" if run.ratio is not None else "no floor"
            for name, values, dash in (
                (run.scheduler, [step.rel_l2 for step in run.steps], "-"),
                (floor, [step.floor for step in run.steps], "--"),
            ):
                drawn = [v if v and math.isfinite(v) else math.nan for v in values]
                axes.plot(steps, drawn, dash, color=colour, label=name, gid=f"{index} {dash}")
        figure.legend(loc="outside right upper", frameon=False)
        text = io.StringIO()
        told = {"Title": title, "Date": None, "Creator": None}
        figure.savefig(text, format="svg", metadata=told)
    return text.getvalue()
