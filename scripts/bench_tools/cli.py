"""Arguments of ``scripts/bench``; the only place here that talks to a terminal."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bench_tools import table
from bench_tools.bench import Plan, measure
from bench_tools.environment import ROOT
from bench_tools.process import RunError
from bench_tools.roster import PEERS, chosen

WIDTH = 200
"""Columns the table wants; narrower terminals wrap it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints the table, writes JSON and Markdown; returns the exit code."""
    arguments = _parser().parse_args(argv)
    console = Console(stderr=True, highlight=False)
    try:
        plan = Plan(
            subject=arguments.subject,
            peers=chosen(arguments.only),
            runs=arguments.runs,
            cache=arguments.cache.absolute(),
            limit=arguments.limit,
        )
        result = measure(plan, lambda line: console.print(line, markup=False))
    except (ValueError, RunError) as error:
        console.print(f"error: {error}", style="red", markup=False)
        return 2
    folder = arguments.output or plan.cache / "results"
    folder.mkdir(parents=True, exist_ok=True)
    plain = json.dumps(result.to_json(), indent=2)
    (folder / f"{plan.subject}.json").write_text(plain + "\n")
    (folder / f"{plan.subject}.md").write_text(table.markdown(result))
    screen = Console(highlight=False)
    screen = Console(highlight=False, width=max(screen.width, WIDTH))
    screen.print(table.terminal(result))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
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
        help="a peer to run, with what it builds on (repeatable; default: all)",
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
    return parser
