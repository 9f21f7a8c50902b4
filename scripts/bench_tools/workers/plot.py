"""``plot DATA.json OUT.svg``: six small panels; needs matplotlib and nothing of ours."""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

BLUE, ORANGE = "#2b6cb0", "#c05621"
AXES = {"depth": "transformer blocks in each layer", "channels": "channels, × the smallest"}


def main(data: str, target: str) -> None:
    """Draws time, memory and nodes over depth and over channels."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update(
        {"svg.hashsalt": "scale", "svg.fonttype": "none", "font.size": 9}
    )
    from matplotlib import pyplot

    known = json.loads(Path(data).read_text())
    figure, grid = pyplot.subplots(3, 2, figsize=(8, 7.5), sharex="col", layout="constrained")
    for column, (axis, label) in enumerate(AXES.items()):
        points = [point for point in known["points"] if point["axis"] == axis]
        panels = [row[column] for row in grid]
        _spread(panels[0], points, "seconds", 1.0, BLUE, "wall")
        _spread(panels[0], points, "cpu", 1.0, ORANGE, "CPU")
        _spread(panels[1], points, "memory", 1e9, BLUE, "peak")
        values = [point["value"] for point in points]
        panels[2].plot(values, [p["flat"] for p in points], "o-", color=BLUE, label="flat")
        panels[2].plot(values, [p["top"] for p in points], "o-", color=ORANGE, label="on top")
        panels[2].set_xlabel(label)
        panels[2].set_xscale("log", base=2)
        panels[2].set_xticks(values, [_tick(axis, point) for point in points])
        for panel in panels:
            panel.set_ylim(0, 1.1 * panel.get_ylim()[1])
            panel.grid(alpha=0.3)
            panel.legend(frameon=False)
    for row, unit in zip(grid, ("export, s", "memory, GB", "nodes"), strict=True):
        row[0].set_ylabel(unit)
    figure.suptitle(f"Export without its check; {known['machine']['processor']}", fontsize=9)
    figure.savefig(target, metadata={"Date": None})


def _spread(
    panel: Any, points: list[Any], key: str, unit: float, color: str, label: str
) -> None:
    """Medians with a bar from the lowest to the highest."""
    values = [point["value"] for point in points]
    middle = [statistics.median(point[key]) / unit for point in points]
    low = [at - min(point[key]) / unit for at, point in zip(middle, points, strict=True)]
    high = [max(point[key]) / unit - at for at, point in zip(middle, points, strict=True)]
    panel.errorbar(values, middle, (low, high), fmt="o-", color=color, label=label, capsize=2)


def _tick(axis: str, point: Any) -> str:
    return f"{point['value']}\n{point['parameters'] / 1e6:.3g} M"


if __name__ == "__main__":
    main(*sys.argv[1:])
