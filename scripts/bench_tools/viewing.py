"""``scripts/bench viewer``: our page beside plain Netron on the same file."""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bench_tools import machine
from bench_tools.environment import PROJECT, ROOT
from bench_tools.output import show, write_json
from bench_tools.process import RunError, run, run_worker

LIMIT = 1800.0
NETRON = "netron"
GOALS = {"atlas": 0.8, "atlas-graph": 1.2}
"""At most so many times plain Netron's time on the same file."""
WORDS = {"atlas": "our map", "atlas-graph": "Netron on our page"}

Rounds = dict[str, list[float]]


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints one table, writes JSON."""
    arguments = _parser().parse_args(argv)
    console = Console(stderr=True, highlight=False)
    cache: Path = arguments.cache.absolute()
    cache.mkdir(parents=True, exist_ok=True)
    rounds: Rounds = {viewer: [] for viewer in (NETRON, *GOALS)}
    try:
        with tempfile.TemporaryDirectory(prefix="viewer-", dir=cache) as scratch:
            file = arguments.file or _file(arguments.subject, Path(scratch))
            for number in range(arguments.runs):
                for viewer, times in rounds.items():
                    times.append(_drawn(viewer, cache, file))
                    console.print(f"round {number + 1}, {viewer}: {times[-1]:.3f} s")
    except RunError as error:
        console.print(f"error: {error}", style="red", markup=False)
        return 2
    place = {**machine.describe(), **PROJECT.versions(cache)}
    subject = arguments.file.stem if arguments.file else arguments.subject
    folder: Path = arguments.output or cache / "results"
    data = {"subject": subject, "place": place, "rounds": rounds}
    write_json(folder / f"viewer-{subject}.json", data)
    show(markdown(rounds, ", ".join(f"{key} {value}" for key, value in place.items())))
    return 0


def _drawn(viewer: str, cache: Path, file: Path) -> float:
    """Seconds until one viewer's page shows the graph, in a new browser."""
    folder = PROJECT.bin(cache)
    seconds: float = run_worker(
        "browser", folder / "python", LIMIT, viewer, folder, file
    )["drawn"]  # fmt: skip
    return seconds


def _file(subject: str, folder: Path) -> Path:
    """The UNet's file, unchecked."""
    unet = folder / "unet.onnx"
    command = [
        str(PROJECT.bin(folder) / "python"), "-m", "exporter", str(unet), "--no-check",
        "--quiet", "--model", subject,
    ]  # fmt: skip
    run(command, ROOT, LIMIT)
    return unet


def markdown(rounds: Rounds, place: str) -> str:
    """One line a view: median, its ratio to Netron within each round, and the goal."""
    plain = rounds[NETRON]
    lines = [
        ("until it is drawn", "median", "to plain Netron", "goal"),
        ("---", "---:", "---:", "---:"),
        ("plain Netron", f"{statistics.median(plain):.2f} s", "", ""),
    ]
    for viewer, goal in GOALS.items():
        ratios = [ours / theirs for ours, theirs in zip(rounds[viewer], plain, strict=True)]
        middle = statistics.median(ratios)
        lines.append(
            (
                WORDS[viewer],
                f"{statistics.median(rounds[viewer]):.2f} s",
                f"×{middle:.3g} ({min(ratios):.3g}–{max(ratios):.3g})",
                f"{goal}: {'met' if middle <= goal else 'missed'}",
            )
        )
    return "\n".join([*(f"| {' | '.join(cells)} |" for cells in lines), "", place])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench viewer",
        description="Measures how long our map, and Netron on our page, take to be drawn, "
        "beside Netron's own page of the same file: in turn, each in a new browser.",
    )
    parser.add_argument("--subject", default="sd15", help="preset (default: sd15)")
    parser.add_argument("--file", type=Path, help="a file that is there, in its place")
    parser.add_argument("--runs", type=int, default=5, help="interleaved rounds (default: 5)")
    parser.add_argument("--cache", type=Path, default=ROOT / ".bench", help="as for peers")
    parser.add_argument(
        "--output", type=Path, help="folder of results (default: CACHE/results)"
    )
    return parser
