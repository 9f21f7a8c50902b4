"""Arguments, progress and exit codes of ``python -m exporter``; the only place that prints."""

from __future__ import annotations

import argparse
import json
import os
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from exporter.display import StageDisplay, closing_table
from exporter.errors import AtlasError, TargetError

if TYPE_CHECKING:
    from exporter.pipeline import ExportReport

INTERRUPTED = 130

EPILOG = """\
examples:
  python -m exporter unet.onnx
      Stable Diffusion 1.5's architecture with seeded random weights
  python -m exporter sdxl.onnx --model stabilityai/stable-diffusion-xl-base-1.0 --variant fp16
      a hub id; token and cache as everywhere in Hugging Face
  python -m exporter my-pipeline/unet.onnx --model my-pipeline
      a local diffusers folder; no weight is copied, the file points into the checkpoint
  python -m exporter unet.onnx --flat --opset 23 --report report.json
      one flat graph, and what was done as JSON

presets (random weights): {presets}

exit codes:
  0  the file was written and computes what PyTorch computes (or --no-check was given)
  1  parity failed; the target was left as it was
  2  bad usage or input
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one export and returns the exit code."""
    arguments = _parser().parse_args(argv)
    console = Console(stderr=True)
    try:
        report = _export(arguments, console)
        if arguments.report:
            _write_report(report, arguments.report)
    except AtlasError as error:
        if arguments.debug:
            traceback.print_exc()
        console.print(f"error: {error}", style="red", markup=False, highlight=False)
        return error.exit_code
    except KeyboardInterrupt:
        console.print("interrupted; nothing was written", style="yellow")
        return INTERRUPTED
    Console().print(closing_table(report))
    return 0


def _export(arguments: argparse.Namespace, console: Console) -> ExportReport:
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # ours is shown
    with StageDisplay(console, quiet=arguments.quiet) as display:
        display.start("imports")
        from exporter.pipeline import export  # seconds of torch: -h should not wait for it
        from exporter.types import ExportRequest

        display.finish("imports")
        request = ExportRequest(
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
        )
        return export(request, display.progress)


def _write_report(report: ExportReport, path: Path) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_text(json.dumps(report.to_json(), indent=2) + "\n")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise TargetError(f"--report {path} cannot be written: {error.strerror}") from error


def _parser() -> argparse.ArgumentParser:
    names = sorted(p.stem for p in (Path(__file__).parent / "presets").glob("*.json"))
    parser = argparse.ArgumentParser(
        prog="python -m exporter",
        description="Turns a diffusers UNet into a simplified, hierarchical, annotated ONNX "
        "graph with dynamic axes, and proves that it computes what PyTorch computes.",
        epilog=EPILOG.format(presets=", ".join(names)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("output", type=Path, metavar="OUT.onnx", help="the file to write")
    _source_options(parser)
    _graph_options(parser)
    _check_options(parser)
    parser.add_argument("--report", type=Path, metavar="FILE", help="write a JSON report")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    return parser


def _source_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to export")
    group.add_argument(
        "--model",
        default="sd15",
        metavar="WHAT",
        help="hub id, local diffusers folder (a pipeline's or the UNet's own), or preset "
        "(default: sd15)",
    )
    group.add_argument("--subfolder", default="unet", help="of a pipeline (default: unet)")
    group.add_argument("--revision", help="hub branch, tag or commit")
    group.add_argument("--variant", help="weights variant, e.g. fp16")
    group.add_argument(
        "--seed", type=int, default=0, help="of a preset's random weights (default: 0)"
    )


def _graph_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to write")
    group.add_argument(
        "--weights",
        choices=("auto", "link", "copy"),
        default="auto",
        help="link: point into the checkpoint's own safetensors file, copying nothing; copy: "
        "one .safetensors beside the .onnx, still loadable by diffusers; auto links when it "
        "can (default)",
    )
    group.add_argument(
        "--dtype", choices=("fp32", "fp16", "bf16"), help="default: the checkpoint's own"
    )
    group.add_argument("--opset", type=int, help="20 to 24 (default: 24)")
    group.add_argument("--flat", action="store_true", help="no functions: one flat graph")


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
