"""``scripts/bench copies``: what the loop of the sampling stage copies, on a GPU above all."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from bench_tools import machine
from bench_tools.environment import PROJECT, ROOT
from bench_tools.figures import seconds, size
from bench_tools.output import show, write_json
from bench_tools.process import RunError, run_worker
from bench_tools.sampling import LIMIT, sampler_files


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints one table; 1 where a round copies between host and device."""
    arguments = _parser().parse_args(argv)
    cache: Path = arguments.cache.absolute()
    cache.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix="copies-", dir=cache) as scratch:
            unet, sampler = sampler_files(arguments.subject, Path(scratch))
            found = run_worker(
                "copies", PROJECT.bin(cache) / "python", LIMIT, unet, sampler,
                arguments.device, str(arguments.steps), str(arguments.size),
                gpu=arguments.device == "cuda",
            )  # fmt: skip
    except RunError as error:
        Console(stderr=True).print(f"error: {error}", style="red", markup=False)
        return 2
    place = {**machine.describe(), **PROJECT.versions(cache)}
    asked = {key: vars(arguments)[key] for key in ("subject", "device", "steps", "size")}
    folder: Path = arguments.output or cache / "results"
    name = f"copies-{arguments.subject}-{arguments.device}.json"
    write_json(folder / name, {**asked, "place": place, **found})
    show(markdown(found, ", ".join(f"{key} {value}" for key, value in place.items())))
    return 1 if copies(found) else 0


def copies(found: Mapping[str, Any]) -> int:
    """Between host and device in a round: as many as were seen, or as there are nodes."""
    seen: Mapping[str, int] = found.get("round", {})
    return max(len(found["nodes"]["inside"]), sum(seen.values()))


def markdown(found: Mapping[str, Any], place: str) -> str:
    """One line a figure."""
    nodes = found["nodes"]
    lines = [
        ("", ""),
        ("---", "---:"),
        ("copy nodes outside the loop", str(len(nodes["outside"]))),
        ("copy nodes inside the loop", ", ".join(nodes["inside"]) or "0"),
    ]
    seen = found.get("round") or {"between host and device": "not measured: no GPU"}
    lines += [(f"copies a round, {way}", str(count)) for way, count in seen.items()]
    loop, body = found["loop"], found["body"]
    lines.append(("the loop, profiled", f"{seconds(loop)}, of it its body {seconds(body)}"))
    for nbytes, took in found["state"].items():
        what = f"a round that hands on a state of {size(float(nbytes))}"
        beside = f"{took['loop'] * 1e6:.1f} µs; without a loop {took['node'] * 1e6:.1f} µs"
        lines.append((what, beside))
    return "\n".join([*(f"| {' | '.join(cells)} |" for cells in lines), "", place])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench copies",
        description="Counts copies between host and device in the loop of a sampler's file: "
        "nodes that ONNX Runtime put there, and, on a GPU, what CUPTI sees of a round. Also "
        "what handing on the loop's state costs. Exit code 1 if a round copies.",
    )
    parser.add_argument("--subject", default="tiny", help="preset or shapes (default: tiny)")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--steps", type=int, default=10, help="default: 10")
    parser.add_argument("--size", type=int, default=32, help="of the latents (default: 32)")
    parser.add_argument("--cache", type=Path, default=ROOT / ".bench", help="as for peers")
    parser.add_argument(
        "--output", type=Path, help="folder of results (default: CACHE/results)"
    )
    return parser
