"""``scripts/bench gpu``: one denoising step in PyTorch and in ONNX Runtime, side by side."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from bench_tools import machine
from bench_tools.environment import PROJECT, ROOT
from bench_tools.figures import error_size, seconds, size
from bench_tools.modes import MODES, Mode
from bench_tools.output import show, write_json
from bench_tools.process import RunError, run, run_worker

LIMIT = 3600.0
_DEVICE = """
import json, torch
found = torch.cuda.is_available()
print(json.dumps({
    "device": torch.cuda.get_device_name() if found else "cpu",
    "capability": ".".join(map(str, torch.cuda.get_device_capability())) if found else "",
    "cuda": torch.version.cuda if found else "",
}))
"""


@dataclass
class Row:
    """One mode at one size.

    Attributes:
        subject: Preset.
        pixels: Height and width of the image.
        mode: How it ran.
        rounds: What each round measured; see ``workers.step``.
        error: Why it did not.
    """

    subject: str
    pixels: int
    mode: Mode
    rounds: list[dict[str, float]] = field(default_factory=list)
    error: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values, in seconds and bytes."""
        return {
            "subject": self.subject,
            "pixels": self.pixels,
            "mode": self.mode.name,
            "rounds": self.rounds,
            "error": self.error,
        }


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints one table, writes JSON."""
    arguments = _parser().parse_args(argv)
    console = Console(stderr=True, highlight=False)
    cache: Path = arguments.cache.absolute()
    cache.mkdir(parents=True, exist_ok=True)
    python = PROJECT.bin(cache) / "python"
    place = json.loads(run([str(python), "-c", _DEVICE], ROOT, LIMIT, gpu=True))
    device = arguments.device or ("cuda" if place["cuda"] else "cpu")
    if device == "cuda" and not place["cuda"]:
        console.print("error: PyTorch finds no CUDA device; use --device cpu", style="red")
        return 2
    if device == "cpu":
        place = {"device": "cpu", "capability": "", "cuda": ""}
    rows: list[Row] = []
    for subject in arguments.subject or ("sd15", "sdxl"):
        rows += _subject(subject, device, arguments, cache, console)
    versions = PROJECT.versions(cache)
    data = {"place": place, "machine": machine.describe(), "versions": versions}
    folder: Path = arguments.output or cache / "results"
    plain = {**data, "batch": arguments.batch, "rows": [row.to_json() for row in rows]}
    write_json(folder / f"gpu-{device}.json", plain)
    named = {**place, **data["machine"], **versions}
    text = ", ".join(f"{key} {value}" for key, value in named.items() if value)
    show(markdown(rows, text))
    return 0


def _subject(
    subject: str, device: str, arguments: argparse.Namespace, cache: Path, console: Console
) -> list[Row]:
    """All modes of one preset; its files are gone afterwards."""
    python = PROJECT.bin(cache) / "python"
    modes = [mode for mode in MODES if not arguments.only or mode.name in arguments.only]
    rows = [Row(subject, at, mode) for at in arguments.pixels or (512, 1024) for mode in modes]
    for row in rows:
        if device == "cpu" and not row.mode.anywhere:
            row.error = "needs CUDA"
    with tempfile.TemporaryDirectory(prefix="gpu-", dir=cache) as scratch:
        folder = Path(scratch)
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder / "inductor")  # cold at first
        run_worker("checkpoint", python, LIMIT, subject, "{}", folder / "checkpoint")
        models = dict(_models(folder, {row.mode.dtype for row in rows if not row.error}))
        for number in range(arguments.runs):
            for row in rows:
                if row.error:
                    continue
                try:
                    took = run_worker(
                        "step", python, LIMIT, row.mode.name, device, folder / "checkpoint",
                        models[row.mode.dtype], str(arguments.batch), str(row.pixels),
                        folder / f"reference-{row.pixels}.npy", gpu=True,
                    )  # fmt: skip
                    row.rounds.append(took)
                    said = ", ".join(f"{key} {value:.4g}" for key, value in took.items())
                except RunError as error:
                    row.error = said = str(error)
                step = f"round {number + 1}, {subject} {row.pixels} px {row.mode.name}"
                console.print(f"{step}: {said}", markup=False)
    return rows


def _models(folder: Path, dtypes: set[str]) -> Iterator[tuple[str, Path]]:
    """The exported file of each dtype; fp32 points into the checkpoint."""
    for dtype in sorted(dtypes):
        target = folder / f"{dtype}.onnx"
        command = [
            str(PROJECT.bin(folder) / "python"), "-m", "exporter", str(target), "--no-check",
            "--quiet", "--dtype", dtype, "--model", str(folder / "checkpoint"),
        ]  # fmt: skip
        run(command, ROOT, LIMIT)
        yield dtype, target


def markdown(rows: Sequence[Row], place: str) -> str:
    """One line a mode, beside the first mode of its subject and size."""
    titles = ("", "step", "lowest to highest", "ratio", "setup", "memory", "difference")
    lines = [titles, ("---", *["---:"] * (len(titles) - 1))]
    base: Row | None = None
    for row in rows:
        if base is None or (base.subject, base.pixels) != (row.subject, row.pixels):
            base = row
        cells = [row.error] if row.error or not row.rounds else _cells(row, base)
        lines.append((f"{row.subject} {row.pixels} px {row.mode.name}", *cells))
    return "\n".join([*(f"| {' | '.join(cells)} |" for cells in lines), "", place])


def _cells(row: Row, base: Row) -> list[str]:
    pairs = zip(row.rounds, base.rounds, strict=False)
    ratios = [one["median"] / other["median"] for one, other in pairs]
    ratio = f"×{statistics.median(ratios):.3g} ({min(ratios):.3g}–{max(ratios):.3g})"
    lowest = min(one["low"] for one in row.rounds)
    highest = max(one["high"] for one in row.rounds)
    middle = {key: statistics.median(one[key] for one in row.rounds) for key in row.rounds[0]}
    return [
        seconds(middle["median"]),
        f"{seconds(lowest)} – {seconds(highest)}",
        ratio if ratios and row is not base else "",
        seconds(max(one["setup"] for one in row.rounds)),
        size(middle["memory"]),
        error_size(middle["difference"]),
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench gpu",
        description="Compares PyTorch eager, torch.compile and ONNX Runtime on one GPU.",
        epilog="modes: " + ", ".join(mode.name for mode in MODES),
    )
    parser.add_argument(
        "--subject", action="append", help="preset (repeatable; default: sd15 and sdxl)"
    )
    parser.add_argument(
        "--pixels", action="append", type=int, help="image size (default: 512 and 1024)"
    )
    parser.add_argument("--batch", type=int, default=2, help="latents (default: 2)")
    parser.add_argument("--runs", type=int, default=3, help="interleaved rounds (default: 3)")
    parser.add_argument("--only", action="append", metavar="MODE", help="repeatable")
    parser.add_argument("--device", choices=("cuda", "cpu"), help="default: cuda if there is")
    parser.add_argument("--cache", type=Path, default=ROOT / ".bench", help="as for peers")
    parser.add_argument(
        "--output", type=Path, help="folder of results (default: CACHE/results)"
    )
    return parser
