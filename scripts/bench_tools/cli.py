"""``scripts/bench peers``: arguments, progress and results."""

from __future__ import annotations

import argparse
import json
import signal
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from bench_tools import table
from bench_tools.bench import measure
from bench_tools.environment import ROOT
from bench_tools.goals import goals
from bench_tools.output import show, write_json, write_text
from bench_tools.plan import Plan
from bench_tools.process import RunError
from bench_tools.result import Result
from bench_tools.roster import PEERS, chosen

INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints the tables, writes JSON and Markdown; returns the exit code."""
    arguments = _parser().parse_args(argv)
    console = Console(stderr=True, highlight=False)
    signal.signal(
        signal.SIGTERM, signal.default_int_handler
    )  # as Ctrl-C: nothing stays behind
    try:
        plan = Plan(
            subject=arguments.subject,
            peers=chosen(arguments.only),
            runs=arguments.runs,
            cache=arguments.cache.absolute(),
            limit=arguments.limit,
            layout=arguments.layout,
        )
        folder: Path = arguments.output or plan.cache / "results"
        earlier = _earlier(folder, plan) if arguments.resume else None
        result = measure(
            plan,
            lambda line: console.print(line, markup=False),
            partial(_write, folder),
            earlier,
        )
    except (ValueError, RunError) as error:
        console.print(f"error: {error}", style="red", markup=False)
        return 2
    except KeyboardInterrupt:
        console.print("interrupted before the first round", style="yellow")
        return INTERRUPTED
    _write(folder, result)
    show(table.markdown(result))
    return 0


def _write(folder: Path, result: Result) -> None:
    plain = {**result.to_json(), "goals": [goal.to_json() for goal in goals(result)]}
    write_json(folder / f"{result.subject}.json", plain)
    write_text(folder / f"{result.subject}.md", table.markdown(result))


def _earlier(folder: Path, plan: Plan) -> Result:
    path = folder / f"{plan.subject}.json"
    try:
        return Result.from_json(json.loads(path.read_text()), PEERS)
    except (OSError, ValueError, KeyError) as error:
        raise RunError(f"--resume: {path} is no result to go on with") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench peers",
        description="Measures the exporter beside its peers, each in its own environment.",
        epilog="peers: " + ", ".join(peer.name for peer in PEERS),
    )
    parser.add_argument(
        "--subject",
        default="sd15",
        help="preset with random weights: tiny, sd15, sdxl, ... (default: sd15)",
    )
    parser.add_argument("--runs", type=int, default=3, help="interleaved rounds (default: 3)")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="PEER",
        help="a peer to run, with what it builds on (repeatable; default: all); ratios are to "
        "the first",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=ROOT / ".bench",
        help="where environments and temporary files go (default: .bench)",
    )
    parser.add_argument(
        "--output", type=Path, help="folder of results (default: CACHE/results)"
    )
    parser.add_argument(
        "--limit", type=float, default=1800, help="seconds for one command (default: 1800)"
    )
    parser.add_argument(
        "--layout",
        type=float,
        default=120,
        help="seconds for a layout by Graphviz (default: 120)",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on with an interrupted run: same commit, machine and peers",
    )
    return parser
