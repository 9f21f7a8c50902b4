"""The table as one SVG: parts downwards, steps to the right, the image beside them."""

from __future__ import annotations

import io

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from exporter.sample.importance.plan import TITLE
from exporter.sample.importance.table import Table

# Text stays text, names are never TeX, and the same table gives the same bytes.
_STYLE = {"svg.fonttype": "none", "svg.hashsalt": "", "text.parse_math": False, "font.size": 8}


def draw(table: Table) -> str:
    """A self-contained SVG."""
    values = np.array([part.prediction for part in table.parts])
    names = [f"{part.wish.kind}:{_short(part.wish.place)}" for part in table.parts]
    plan = table.plan
    title = f"{TITLE} {plan['model']} is for, {len(plan['prompts'])} prompts"
    with rc_context(_STYLE):
        figure = Figure(figsize=(9, 1.6 + 0.17 * len(names)), layout="constrained")
        figure.suptitle(title)
        steps, image = figure.subplots(1, 2, sharey=True, width_ratios=(3, 1))
        shown = steps.imshow(values, aspect="auto", cmap="viridis", interpolation="nearest")
        steps.set_yticks(range(len(names)), names)
        steps.set(title="change of the prediction, off at one step", xlabel="step")
        ticks = sorted({0, values.shape[1] - 1})
        steps.set_xticks(ticks, [str(tick + 1) for tick in ticks])
        image.barh(range(len(names)), [part.image for part in table.parts], color="#0072b2")
        image.set(title="of the image, off throughout")
        figure.colorbar(shown, ax=steps, location="bottom", shrink=0.6, aspect=40)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Title": title, "Date": None})
    return text.getvalue()


def _short(module: str) -> str:
    """Without what every path has."""
    for long, brief in (("attentions.", "a"), ("transformer_blocks.", "t"), ("_blocks.", " ")):
        module = module.replace(long, brief)
    return module
