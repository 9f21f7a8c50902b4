"""``scripts/bench sampler``: the sampling stage as a graph beside the loop in Python."""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bench_tools import machine
from bench_tools.environment import PROJECT, ROOT
from bench_tools.figures import seconds, size
from bench_tools.output import show, write_json
from bench_tools.process import RunError, run, run_worker

LIMIT = 3600.0
MODES = ("loop", "graph", "unpacked")
GOALS = {"cpu": 1.02, "open": 1.1, "memory": 1.1}
"""At most so many times the loop's."""
NAMES = {"graph": "graph", "unpacked": "graph, `session.disable_prepacking`"}

Rounds = dict[str, list[dict[str, float]]]


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints one table, writes JSON."""
    arguments = _parser().parse_args(argv)
    console = Console(stderr=True, highlight=False)
    cache: Path = arguments.cache.absolute()
    cache.mkdir(parents=True, exist_ok=True)
    rounds: Rounds = {mode: [] for mode in MODES}
    try:
        with tempfile.TemporaryDirectory(prefix="sampler-", dir=cache) as scratch:
            unet, sampler = sampler_files(arguments.subject, Path(scratch))
            for number in range(arguments.runs):
                for mode in MODES:
                    took = run_worker(
                        "sampling", PROJECT.bin(cache) / "python", LIMIT, mode, unet, sampler,
                        str(arguments.steps), str(arguments.size),
                    )  # fmt: skip
                    rounds[mode].append(took)
                    said = ", ".join(f"{key} {value:.4g}" for key, value in took.items())
                    console.print(f"round {number + 1}, {mode}: {said}", markup=False)
    except RunError as error:
        console.print(f"error: {error}", style="red", markup=False)
        return 2
    place = {**machine.describe(), **PROJECT.versions(cache)}
    data = {"subject": arguments.subject, "steps": arguments.steps, "size": arguments.size}
    folder: Path = arguments.output or cache / "results"
    name = f"sampler-{arguments.subject}.json"
    write_json(folder / name, {**data, "place": place, "rounds": rounds})
    show(markdown(rounds, ", ".join(f"{key} {value}" for key, value in place.items())))
    return 0


def sampler_files(subject: str, folder: Path) -> tuple[Path, Path]:
    """The UNet's file and its sampler's, unchecked."""
    unet = folder / "unet.onnx"
    command = [
        str(PROJECT.bin(folder) / "python"), "-m", "exporter", str(unet), "--no-check",
        "--quiet", "--model", subject, "--sampler", "ddim",
    ]  # fmt: skip
    run(command, ROOT, LIMIT)
    return unet, unet.with_suffix(".sampler.onnx")


def markdown(rounds: Rounds, place: str) -> str:
    """One line a figure and a way: beside the loop, the ratio within each round, the goal."""
    lines = [
        ("", "", "loop in Python", "graph", "ratio", "goal"),
        ("---", "---", *["---:"] * 4),
    ]
    figures = (
        ("cpu", "processor time of all steps", seconds),
        ("open", "processor time of opening", seconds),
        ("memory", "peak memory", size),
    )
    loop = rounds["loop"]
    for mode, name in NAMES.items():
        for key, words, unit in figures:
            pairs = [(a[key], b[key]) for a, b in zip(loop, rounds[mode], strict=True)]
            ratios = [b / a for a, b in pairs]
            middle = statistics.median(ratios)
            lines.append(
                (
                    name,
                    words,
                    *(unit(statistics.median(way)) for way in zip(*pairs, strict=True)),
                    f"×{middle:.3g} ({min(ratios):.3g}–{max(ratios):.3g})",
                    f"{GOALS[key]}: {'met' if middle <= GOALS[key] else 'missed'}",
                )
            )
    return "\n".join([*(f"| {' | '.join(cells)} |" for cells in lines), "", place])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench sampler",
        description="Compares the sampling stage as one graph with diffusers' loop in Python "
        "over the UNet's file, both in ONNX Runtime on the CPU, in interleaved processes.",
    )
    parser.add_argument("--subject", default="tiny", help="preset or shapes (default: tiny)")
    parser.add_argument("--steps", type=int, default=10, help="default: 10")
    parser.add_argument("--size", type=int, default=32, help="of the latents (default: 32)")
    parser.add_argument("--runs", type=int, default=5, help="interleaved rounds (default: 5)")
    parser.add_argument("--cache", type=Path, default=ROOT / ".bench", help="as for peers")
    parser.add_argument(
        "--output", type=Path, help="folder of results (default: CACHE/results)"
    )
    return parser
