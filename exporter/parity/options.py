"""The options of ``python -m exporter.parity``."""

from __future__ import annotations

import argparse
from pathlib import Path

from exporter.targets import COMMANDS, JUNIT, MARKDOWN, ONNX, PARITY_REPORT, SVG, Target
from exporter.terminal import SEED, Number, Parser

SCHEDULERS = ("ddim", "pndm", "euler", "dpm++")

EPILOG = """\
examples:
  python -m exporter.parity unet.onnx
      a file of ours: the model is read from its metadata, a preset's weights are drawn again
  python -m exporter.parity model.onnx --model my-pipeline --cases standard --report x.json
      any UNet with conventional inputs, Optimum's for instance, against a diffusers folder
  python -m exporter.parity unet.onnx --case B2H96W64S77 --case B1H33W35S1T0 --locate
      two cases of your own, and which module departs first
  python -m exporter.parity unet.onnx --reduce small.onnx
      the few nodes that are wrong, as a file that fails by itself
  python -m exporter.parity unet.onnx --trajectory 10 --plot drift.svg --markdown summary.md
      ten steps of four schedulers with both backends, and their drift

exit codes:
  0  the file computes what PyTorch computes
  1  it does not
  2  bad usage or input
"""


def command_line() -> argparse.ArgumentParser:
    """Every option, in groups."""
    made = Parser(
        prog="python -m exporter.parity",
        description="Checks that an ONNX UNet computes what PyTorch computes: over a range of "
        "inputs, against the error that is unavoidable, along whole sampling runs; and finds "
        "the module that does not.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("file", type=Path, metavar="FILE.onnx")
    _model_options(made)
    _case_options(made)
    _judge_options(made)
    _trajectory_options(made)
    _report_options(made)
    return made


def _model_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what it should equal")
    group.add_argument(
        "--model",
        metavar="WHAT",
        help="diffusers folder, hub id or preset (default: what one of our files names)",
    )
    group.add_argument("--subfolder", default="unet", help="of a pipeline (default: unet)")
    group.add_argument("--revision", help="hub branch, tag or commit")
    group.add_argument("--variant", help="weights variant, e.g. fp16")
    group.add_argument("--seed", type=SEED, help="of a preset's random weights")
    group.add_argument(
        "--controlnet",
        action="append",
        default=[],
        metavar="FOLDER",
        help="a ControlNet that is in the file's graph; repeatable, in its order",
    )
    group.add_argument(
        "--ip-adapter",
        action="append",
        default=[],
        metavar="FILE",
        help="an IP-Adapter that is in the file's graph; repeatable, in its order",
    )
    group.add_argument(
        "--fuse-lora",
        action="append",
        default=[],
        metavar="FILE=0.8",
        help="a LoRA that was baked into the file's weights; repeatable",
    )
    group.add_argument(
        "--dtype", choices=("fp32", "fp16", "bf16"), help="default: that of the file's sample"
    )


def _case_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("cases")
    group.add_argument(
        "--cases",
        choices=("smoke", "standard", "full"),
        default="smoke",
        help="3, 12 or 35 of them: what every export is checked on, every value of every "
        "axis, every pair of values (default: smoke)",
    )
    group.add_argument(
        "--case",
        action="append",
        metavar="B2H96W64S77T500",
        help="batch, latent height and width, text tokens, timestep (TB500: one for each "
        "sample); may be repeated",
    )


def _judge_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("judgement")
    group.add_argument(
        "--provider",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="where ONNX Runtime runs; cuda fails if any heavy node does not (default: auto)",
    )
    group.add_argument(
        "--atol",
        type=float,
        help="absolute tolerance; with it or --rtol the floor only informs",
    )
    group.add_argument("--rtol", type=float, help="relative tolerance")
    group.add_argument(
        "--floor-factor", type=float, metavar="X", help="fail beyond X times the noise floor"
    )
    group.add_argument(
        "--no-floor",
        dest="floor",
        action="store_false",
        help="do not measure the noise floor: a third of PyTorch's time, a blunter check",
    )
    group.add_argument(
        "--locate",
        action="store_true",
        help="search for the first departing module even if the check passes; on failure the "
        "search is made anyway",
    )
    group.add_argument(
        "--reduce",
        type=Target((ONNX,), beside=(".npz", ".py")),
        metavar="SMALL.onnx",
        help="on failure, write the few nodes that are wrong as a file of their own, with "
        "their inputs (.npz) and a script that shows the fault (.py)",
    )


def _trajectory_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("sampling runs")
    group.add_argument("--trajectory", type=int, metavar="N", help="steps to sample")
    group.add_argument(
        "--scheduler", action="append", choices=SCHEDULERS, help="default: all of them"
    )
    group.add_argument(
        "--guidance",
        type=Number(float, 0),
        default=7.5,
        help="classifier-free guidance (default: 7.5)",
    )
    group.add_argument(
        "--trajectory-case",
        default="B1H32W32S77",
        metavar="CASE",
        help="images, latent size, tokens (default: B1H32W32S77)",
    )
    group.add_argument(
        "--plot", type=Target((SVG,)), metavar="FILE.svg", help="draw the drift"
    )


def _report_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("reports")
    group.add_argument(
        "--report",
        type=Target((PARITY_REPORT,)),
        metavar="FILE.json",
        help="schema: docs/report.schema.json",
    )
    group.add_argument("--junit", type=Target((JUNIT,)), metavar="FILE.xml")
    group.add_argument(
        "--markdown", type=Target((MARKDOWN,)), metavar="FILE.md", help="for a CI summary"
    )
    group.add_argument(
        "--annotations",
        type=Target((COMMANDS,)),
        metavar="FILE.txt",
        help="GitHub's workflow commands, to print",
    )
    group.add_argument("--quiet", action="store_true", help="no progress")
    group.add_argument("--debug", action="store_true", help="show tracebacks")
