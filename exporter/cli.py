"""Arguments, progress and exit codes of ``python -m exporter``; the only place that prints."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from exporter import garbage
from exporter.closing import closing_table, one_line, outcome
from exporter.disk import write_text
from exporter.errors import AtlasError, TargetError, UsageError
from exporter.options import parser
from exporter.parts import parts_of_file, parts_of_folder, parts_of_loras
from exporter.precision import cli as precision
from exporter.sampler import cli as sampling
from exporter.targets import ONNX, Target, guard
from exporter.terminal import StageDisplay, run
from exporter.text_to_image import cli as whole

if TYPE_CHECKING:
    from exporter.report import ExportReport
    from exporter.types import ExportRequest


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one export and returns the exit code."""
    arguments = _parser().parse_args(argv)
    return run(lambda console: _run(arguments, console), debug=arguments.debug)


def _run(arguments: argparse.Namespace, console: Console) -> int:
    if arguments.shard and not arguments.all:
        raise UsageError(f"--shard {arguments.shard} without --all")
    if arguments.pipeline:
        whole.require(arguments)
    sampling.require(arguments)
    guard(_parser(), arguments, _inputs(arguments))
    if arguments.pipeline:
        return whole.picture(arguments, console)
    sampling.guard(arguments)
    precision.guard(arguments)
    if arguments.all:
        return _export_all(arguments, console)
    if arguments.from_file:
        return sampling.sample(arguments, console, arguments.from_file, arguments.output)
    precision.choose(arguments, console)
    report = _export(arguments, console)
    if arguments.report:
        write_text(arguments.report, json.dumps(report.to_json(), indent=2) + "\n")
    Console().print(closing_table(report))
    if arguments.sampler:
        return sampling.sample(arguments, console, arguments.output, None)
    return 0


def _export(arguments: argparse.Namespace, console: Console) -> ExportReport:
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # ours is shown
    with StageDisplay(console, quiet=arguments.quiet) as display:
        display.start("imports")
        start = time.perf_counter()
        with garbage.paused():  # seconds of torch: -h should not wait for it
            from exporter.pipeline import export
            from exporter.types import ExportRequest, StageRecord
        imports = StageRecord("imports", time.perf_counter() - start)
        display.finish("imports", imports.seconds)
        report = export(_request(arguments, ExportRequest), display.progress)
    return replace(
        report,
        stages=(imports, *report.stages),
        seconds=imports.seconds + report.seconds,
    )


def _export_all(arguments: argparse.Namespace, console: Console) -> int:
    """One export per checkpoint in a folder; one trace per architecture."""
    from exporter.pipeline import export_all
    from exporter.types import ExportRequest

    folders = _chosen(arguments)
    try:
        arguments.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TargetError(f"{arguments.output}: {error.strerror}", "a folder") from error
    base = _request(arguments, ExportRequest)
    requests = [
        replace(base, target=arguments.output / f"{folder.name}.onnx", model=str(folder))
        for folder in folders
    ]
    results: list[ExportReport | AtlasError] = []
    out = Console()
    with StageDisplay(console, quiet=arguments.quiet) as display:
        for folder, result in zip(
            folders, export_all(requests, display.progress), strict=True
        ):
            results.append(result)
            out.print(one_line(folder.name, result), highlight=False)
            display.clear()
    if arguments.report:
        named = zip(folders, results, strict=True)
        report = [{"checkpoint": folder.name, **outcome(result)} for folder, result in named]
        write_text(arguments.report, json.dumps(report, indent=2) + "\n")
    codes = {result.exit_code for result in results if isinstance(result, AtlasError)}
    return min(codes, default=0)


def checkpoints(folder: Path, subfolder: str) -> list[Path]:
    """Subfolders that hold a pipeline or a UNet, by name.

    Raises:
        UsageError: There is none.
    """
    found = sorted(
        child
        for child in (folder.iterdir() if folder.is_dir() else ())
        if any((child / place / "config.json").is_file() for place in (".", subfolder))
    )
    if not found:
        raise UsageError(f"--all {folder} holds no checkpoint", "diffusers folders inside it")
    return found


def shard(folders: list[Path], part: str) -> list[Path]:
    """Every N-th folder from the K-th on, for ``K/N``: all N parts together are all folders.

    Raises:
        UsageError: It is no such part.
    """
    first, _, step = part.partition("/")
    if not (first.isdecimal() and step.isdecimal() and 1 <= int(first) <= int(step)):
        raise UsageError(f"--shard {part}", "K/N with K from 1 to N, such as 1/4")
    return folders[int(first) - 1 :: int(step)]


def _request(arguments: argparse.Namespace, kind: type[ExportRequest]) -> ExportRequest:
    return kind(
        target=arguments.output,
        model=arguments.model,
        subfolder=arguments.subfolder,
        revision=arguments.revision,
        variant=arguments.variant,
        weights=arguments.weights,
        dtype=arguments.dtype,
        opset=arguments.opset,
        flat=arguments.flat,
        check=arguments.check,
        provider=arguments.provider,
        atol=arguments.atol,
        rtol=arguments.rtol,
        seed=arguments.seed,
        keep_fp32=tuple(arguments.keep_fp32),
        optimize=arguments.optimize,
        cache=arguments.cache,
        prediction=arguments.prediction,
        conditions=tuple(arguments.conditions),
        lora=arguments.lora,
        fuse_lora=tuple(arguments.fuse_lora),
        controlnets=tuple(arguments.controlnet),
        ip_adapters=tuple(arguments.ip_adapter),
        guess_mode=arguments.guess_mode,
    )


def _inputs(arguments: argparse.Namespace) -> Iterator[tuple[str, Path]]:
    """Every file of this machine that an export reads; a hub id's lie in the cache."""
    yield from parts_of_folder(arguments.model)
    for folder in _chosen(arguments) if arguments.all else ():
        yield from parts_of_folder(folder, f"checkpoint {folder.name}")
    yield from parts_of_loras(arguments.fuse_lora)
    for place in arguments.controlnet:
        yield from parts_of_folder(place, "a ControlNet")
    yield from (("an IP-Adapter", Path(name).expanduser()) for name in arguments.ip_adapter)
    if arguments.from_file:
        yield from parts_of_file(arguments.from_file, "the UNet")
    if arguments.pipeline:
        yield from parts_of_folder(arguments.pipeline, "the pipeline")
    if arguments.scheduler:
        yield from parts_of_folder(arguments.scheduler, "the scheduler's config")


def _inside(output: Path, arguments: argparse.Namespace) -> list[Path] | None:
    """With --all, what will be written into the folder."""
    if not arguments.all:
        return None
    return [output / f"{folder.name}.onnx" for folder in _chosen(arguments)]


def _chosen(arguments: argparse.Namespace) -> list[Path]:
    folders = checkpoints(arguments.all, arguments.subfolder)
    return shard(folders, arguments.shard) if arguments.shard else folders


OUTPUT = Target((ONNX,), _inside, (".safetensors", ".ort.onnx", ".sampler.onnx"))


def _parser() -> argparse.ArgumentParser:
    return parser(OUTPUT)
