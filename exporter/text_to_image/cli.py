"""A whole pipeline on the command line of ``python -m exporter``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

from exporter.disk import write_text
from exporter.errors import UsageError
from exporter.terminal import StageDisplay, in_bytes

if TYPE_CHECKING:
    from exporter.text_to_image.make import PictureReport

DEFAULTS: Mapping[str, Any] = {
    "model": "sd15",
    "all": None,
    "shard": None,
    "from_file": None,
    "subfolder": "unet",
    "revision": None,
    "prediction": None,
    "flat": False,
    "optimize": None,
    "keep_fp32": [],
    "conditions": [],
    "controlnet": [],
    "ip_adapter": [],
    "guess_mode": False,
    "lora": None,
    "fuse_lora": [],
    "keep_steps": False,
    "atol": None,
    "rtol": None,
    "seed": 0,
}
"""What has no meaning for a whole pipeline, and its value where it is not given."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """``--pipeline``."""
    parser.add_argument_group("the whole picture (docs/SAMPLING.md)").add_argument(
        "--pipeline",
        metavar="FOLDER",
        help="write text encoders, sampling stage and VAE decoder of a Stable Diffusion or "
        "SDXL pipeline as one file, token ids in, image out: a folder in diffusers' layout, "
        "or `shapes`. --sampler takes another scheduler than the pipeline's",
    )


def require(arguments: argparse.Namespace) -> None:
    """Refuses what has no meaning for a whole pipeline.

    Raises:
        UsageError: Naming the option.
    """
    for name, value in DEFAULTS.items():
        if getattr(arguments, name) != value:
            option = {"from_file": "from", "conditions": "controlnet-inputs"}.get(name, name)
            raise UsageError(f"--{option.replace('_', '-')} with --pipeline", "one of both")


def picture(arguments: argparse.Namespace, console: Console) -> int:
    """Text encoders, sampling stage and image decoder as one file."""
    with StageDisplay(console, quiet=arguments.quiet) as display:
        display.start("imports")
        from exporter.text_to_image.make import make_picture
        from exporter.text_to_image.plan import PictureRequest

        display.finish("imports")
        request = PictureRequest(
            target=arguments.output,
            pipeline=arguments.pipeline,
            sampler=arguments.sampler,
            scheduler=arguments.scheduler,
            variant=arguments.variant,
            weights=arguments.weights,
            dtype=arguments.dtype,
            opset=arguments.opset,
            check=arguments.check,
            provider=arguments.provider,
            cache=arguments.cache,
        )
        report = make_picture(request, display.progress)
    if arguments.report:
        write_text(arguments.report, json.dumps(report.to_json(), indent=2) + "\n")
    Console().print(_line(report), highlight=False)
    return 0


def _line(report: PictureReport) -> str:
    """The file that was written: its size, verdict and time."""
    proof = report.proof
    verdict = (
        f"[green]passed[/] {proof.words('images')}" if proof else "[yellow]not checked[/]"
    )
    weights = "linked" if report.weights["mode"] == "link" else "copied beside it"
    return (
        f"{escape(report.target.name)}: {report.pipeline} with {report.scheduler}, "
        f"{report.nodes} nodes at top level, {in_bytes(report.nbytes)}, weights {weights} "
        f"({in_bytes(report.weights['bytes'])}); {verdict}; {report.seconds:.1f} s"
    )
