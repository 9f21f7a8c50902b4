"""``scripts/bench scale``: how time, memory and nodes of an export grow with the UNet."""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from bench_tools import machine
from bench_tools.environment import PROJECT, ROOT, Environment
from bench_tools.output import write_json
from bench_tools.process import run, run_worker, timed

PLOT = Environment("plot", ("matplotlib==3.11.2",), ("matplotlib",))
DEPTHS = (1, 2, 4, 8, 16)
"""Transformer blocks in each attention layer; SDXL has up to 10."""

WIDTHS = (1, 2, 4, 8, 16)
"""Factors on the preset's channels."""

LIMIT = 1800.0


@dataclass(frozen=True)
class Point:
    """One size of UNet.

    Attributes:
        axis: ``depth`` or ``channels``: what was varied.
        value: Transformer blocks a layer, or the factor on the channels.
        parameters: Of the UNet.
        seconds: Wall time of each export without its check.
        cpu: CPU seconds of each.
        memory: Peak resident bytes of each.
        flat: Nodes after simplification, without Transposes of weights.
        top: Nodes of the folded main graph.
    """

    axis: str
    value: int
    parameters: int
    seconds: tuple[float, ...]
    cpu: tuple[float, ...]
    memory: tuple[int, ...]
    flat: int
    top: int


def measure(axis: str, value: int, runs: int, cache: Path) -> Point:
    """Makes a checkpoint of that size, exports it ``runs`` times, removes both."""
    cache.mkdir(parents=True, exist_ok=True)
    python = PROJECT.bin(cache) / "python"
    with tempfile.TemporaryDirectory(prefix="scale-", dir=cache) as scratch:
        folder = Path(scratch)
        changes = json.dumps({axis: value})
        run_worker("checkpoint", python, LIMIT, "tiny", changes, folder / "checkpoint")
        command = [
            str(python), "-m", "exporter", str(folder / "unet.onnx"), "--no-check", "--quiet",
            "--model", str(folder / "checkpoint"), "--report", str(folder / "report.json"),
        ]  # fmt: skip
        took = [timed(command, ROOT, LIMIT) for _ in range(runs)]
        report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return Point(
        axis=axis,
        value=value,
        parameters=report["weights"]["parameters"],
        seconds=tuple(one.wall for one in took),
        cpu=tuple(one.cpu for one in took),
        memory=tuple(one.memory for one in took),
        flat=report["nodes_flat"] - report["weight_transposes"],
        top=report["nodes_top"],
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Measures every size, writes JSON and the plot."""
    arguments = _parser().parse_args(argv)
    console = Console(stderr=True, highlight=False)
    cache: Path = arguments.cache.absolute()
    points = []
    for axis, values in (("depth", DEPTHS), ("channels", WIDTHS)):
        for value in values:
            if value > arguments.largest:
                break
            point = measure(axis, value, arguments.runs, cache)
            points.append(point)
            console.print(
                f"{axis} {value}: {point.parameters / 1e6:.1f} M parameters, "
                f"{statistics.median(point.seconds):.1f} s "
                f"({statistics.median(point.cpu):.1f} s CPU), "
                f"{max(point.memory) / 1e6:.0f} MB, {point.flat} nodes, {point.top} on top"
            )
    data = {"machine": machine.describe(), "points": [asdict(point) for point in points]}
    target: Path = arguments.output
    file = target.with_suffix(".json")
    write_json(file, data)
    python = PLOT.prepare(cache) / "python"
    command = [str(python), "-m", "bench_tools.workers.plot", str(file), str(target)]
    run(command, ROOT, LIMIT)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/bench scale", description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="exports of each (default: 3)")
    parser.add_argument(
        "--largest", type=int, default=16, help="depth and factor to end at (default: 16)"
    )
    parser.add_argument("--cache", type=Path, default=ROOT / ".bench", help="as for peers")
    parser.add_argument(
        "--output",
        type=Path,
        default=ROOT / "docs" / "images" / "scale.svg",
        help="plot to write, with its data beside it as JSON (default: docs/images/scale.svg)",
    )
    return parser
