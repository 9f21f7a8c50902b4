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
from exporter.parts import parts_of_file, parts_of_folder, parts_of_loras
from exporter.precision import cli as precision
from exporter.sampler import cli as sampling
from exporter.shipped import shipped
from exporter.targets import EXPORT_REPORT, ONNX, Target, guard
from exporter.terminal import SEED, Parser, StageDisplay, run
from exporter.text_to_image import cli as whole

if TYPE_CHECKING:
    from exporter.report import ExportReport
    from exporter.types import ExportRequest

EPILOG = """\
examples:
  python -m exporter unet.onnx
      Stable Diffusion 1.5's architecture with seeded random weights
  python -m exporter sdxl.onnx --model stabilityai/stable-diffusion-xl-base-1.0 --variant fp16
      a hub id; token and cache as everywhere in Hugging Face
  python -m exporter my-pipeline/unet.onnx --model my-pipeline
      a local diffusers folder; no weight is copied, the file points into the checkpoint
  python -m exporter style.onnx --model style.safetensors
      a single-file checkpoint in the original layout; its UNet is linked where it lies
  python -m exporter fine-tunes --all fine-tunes
      every checkpoint in a folder: one trace, one proof each
  python -m exporter text-to-image.onnx --pipeline shapes
      text encoder, scheduler, UNet and VAE decoder as one file: token ids in, image out
  python -m exporter unet.onnx --flat --opset 23 --report report.json
      one flat graph, and what was done as JSON

presets (random weights): {presets}
shipped with trained weights: {shipped}

exit codes:
  0  the file was written and computes what PyTorch computes (or --no-check was given)
  1  parity failed; the target was left as it was
  2  bad usage or input
"""


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
    )


def _inputs(arguments: argparse.Namespace) -> Iterator[tuple[str, Path]]:
    """Every file of this machine that an export reads; a hub id's lie in the cache."""
    yield from parts_of_folder(arguments.model)
    for folder in _chosen(arguments) if arguments.all else ():
        yield from parts_of_folder(folder, f"checkpoint {folder.name}")
    yield from parts_of_loras(arguments.fuse_lora)
    for place in arguments.controlnet:
        yield from parts_of_folder(place, "a ControlNet")
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
    names = sorted(p.stem for p in (Path(__file__).parent / "presets").glob("*.json"))
    parser = Parser(
        prog="python -m exporter",
        description="Turns a diffusers UNet into a simplified, hierarchical, annotated ONNX "
        "graph with dynamic axes, and proves that it computes what PyTorch computes.",
        epilog=EPILOG.format(presets=", ".join(names), shipped=", ".join(shipped())),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("output", type=OUTPUT, metavar="OUT.onnx", help="the file to write")
    _source_options(parser)
    _graph_options(parser)
    _condition_options(parser)
    precision.add_options(parser)
    sampling.add_options(parser)
    whole.add_options(parser)
    _check_options(parser)
    parser.add_argument(
        "--report", type=Target((EXPORT_REPORT,)), metavar="FILE", help="write a JSON report"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    return parser


def _source_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to export")
    group.add_argument(
        "--model",
        default="sd15",
        metavar="WHAT",
        help="hub id, local diffusers folder (a pipeline's or the UNet's own), a .safetensors "
        "checkpoint of Stable Diffusion 1, 2, XL or refiner, or preset (default: sd15)",
    )
    group.add_argument(
        "--all",
        type=Path,
        metavar="FOLDER",
        help="every checkpoint in FOLDER into the folder OUT.onnx names; each architecture is "
        "traced once, each checkpoint is proven",
    )
    group.add_argument(
        "--shard",
        metavar="K/N",
        help="of --all, every N-th checkpoint from the K-th on: one machine's part "
        "(docs/SCALE.md)",
    )
    group.add_argument("--subfolder", default="unet", help="of a pipeline (default: unet)")
    group.add_argument("--revision", help="hub branch, tag or commit")
    group.add_argument("--variant", help="weights variant, e.g. fp16")
    group.add_argument(
        "--prediction",
        choices=("epsilon", "v_prediction", "sample"),
        help="what the model predicts, written into the file for whoever samples with it; "
        "weights do not tell, and the graph is the same",
    )
    group.add_argument(
        "--seed", type=SEED, default=0, help="of a preset's random weights (default: 0)"
    )


def _graph_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to write")
    group.add_argument(
        "--weights",
        choices=("auto", "link", "copy", "packed"),
        default="auto",
        help="link: point into the checkpoint's own safetensors file, copying nothing; copy: "
        "one .safetensors beside the .onnx, still loadable by diffusers; packed: a copy with "
        "matrices transposed for ONNX Runtime, no longer for diffusers; auto links when it "
        "can (default)",
    )
    group.add_argument(
        "--dtype", choices=("fp32", "fp16", "bf16"), help="default: the checkpoint's own"
    )
    group.add_argument("--opset", type=int, help="20 to 24 (default: 24)")
    group.add_argument(
        "--keep-fp32",
        action="append",
        default=[],
        metavar="MODULE",
        help="a module that computes in fp32 in a half precision graph; repeatable",
    )
    group.add_argument("--flat", action="store_true", help="no functions: one flat graph")
    group.add_argument(
        "--optimize",
        choices=("ort",),
        help="also write OUT.ort.onnx, fused into ONNX Runtime's own operators for the "
        "--provider in use and proven in the same way; it reads the same weights. With "
        "--provider cuda --no-check it is made where there is no GPU",
    )
    group.add_argument(
        "--no-cache",
        dest="cache",
        action="store_false",
        help="trace the architecture even if this machine has traced it before",
    )


def _condition_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("conditions (docs/CONDITIONS.md)")
    for condition, whose in (("controlnet", "a ControlNet's"), ("adapter", "a T2I-Adapter's")):
        group.add_argument(
            f"--{condition}-inputs",
            dest="conditions",
            action="append_const",
            const=condition,
            default=[],
            help=f"take {whose} residuals as inputs; zeros are off",
        )
    group.add_argument(
        "--controlnet",
        action="append",
        default=[],
        metavar="FOLDER",
        help="a ControlNet to put into the graph, image and strength as inputs; repeatable",
    )
    group.add_argument(
        "--lora",
        nargs="?",
        const="transformers",
        choices=("transformers", "all"),
        help="low-rank branches whose factors are inputs, none by default: a LoRA is loaded, "
        "changed and removed without a weight being touched; in the transformers (default) or "
        "beside every layer",
    )
    group.add_argument(
        "--fuse-lora",
        action="append",
        default=[],
        metavar="FILE=0.8",
        help="a LoRA to bake into the weights while they are copied, and how strongly "
        "(default: 1); repeatable",
    )


def _check_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the check")
    group.add_argument(
        "--no-check",
        dest="check",
        action="store_false",
        help="write without proof; recorded in the file",
    )
    group.add_argument(
        "--provider",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="where ONNX Runtime runs; cuda that it cannot really use is an error "
        "(default: auto)",
    )
    group.add_argument("--atol", type=float, help="absolute tolerance (default: by dtype)")
    group.add_argument("--rtol", type=float, help="relative tolerance (default: by dtype)")
