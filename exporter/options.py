"""The options of ``python -m exporter``."""

from __future__ import annotations

import argparse
from pathlib import Path

from exporter.precision import cli as precision
from exporter.sampler import cli as sampling
from exporter.shipped import shipped
from exporter.targets import EXPORT_REPORT, Target
from exporter.terminal import SEED, Parser
from exporter.text_to_image import cli as whole

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


def parser(output: Target) -> argparse.ArgumentParser:
    """All of them.

    Args:
        output: What ``OUT.onnx`` may be, and what else is written beside it.
    """
    names = sorted(p.stem for p in (Path(__file__).parent / "presets").glob("*.json"))
    made = Parser(
        prog="python -m exporter",
        description="Turns a diffusers UNet into a simplified, hierarchical, annotated ONNX "
        "graph with dynamic axes, and proves that it computes what PyTorch computes.",
        epilog=EPILOG.format(presets=", ".join(names), shipped=", ".join(shipped())),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("output", type=output, metavar="OUT.onnx", help="the file to write")
    _source_options(made)
    _graph_options(made)
    _condition_options(made)
    precision.add_options(made)
    sampling.add_options(made)
    whole.add_options(made)
    _check_options(made)
    made.add_argument(
        "--report", type=Target((EXPORT_REPORT,)), metavar="FILE", help="write a JSON report"
    )
    made.add_argument("--quiet", action="store_true", help="no progress")
    made.add_argument("--debug", action="store_true", help="show tracebacks")
    return made


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
        "--guess-mode",
        action="store_true",
        help="of --controlnet: strengths that grow from a tenth at the first skip to the "
        "whole in the middle, one for each sample, 0 for the half without text",
    )
    group.add_argument(
        "--ip-adapter",
        action="append",
        default=[],
        metavar="FILE",
        help="an IP-Adapter (.safetensors, plain or plus) to put into the graph, embeddings "
        "of images and strength as inputs; repeatable",
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
