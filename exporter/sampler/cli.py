"""The sampling stage on the command line of ``python -m exporter``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from exporter.disk import write_text
from exporter.errors import UsageError
from exporter.terminal import StageDisplay, in_bytes

if TYPE_CHECKING:
    from exporter.sampler.make import SamplerReport


def add_options(parser: argparse.ArgumentParser) -> None:
    """``--sampler`` and what goes with it."""
    group = parser.add_argument_group("the sampling stage (docs/SAMPLING.md)")
    parser.set_defaults(trained_in=None)
    group.add_argument(
        "--sampler",
        metavar="NAME",
        help="also write OUT.sampler.onnx: scheduler, guidance and UNet as one graph with a "
        "Loop. ddim, ddpm, dpm++, dpm++-karras, euler, euler-a, lcm, pndm, unipc, a diffusers "
        "class, or a folder with scheduler_config.json",
    )
    group.add_argument(
        "--from",
        dest="from_file",
        type=Path,
        metavar="UNET.onnx",
        help="write only the sampler, as OUT.onnx, over a UNet's file that exists already",
    )
    group.add_argument(
        "--scheduler",
        type=Path,
        metavar="FOLDER",
        help="the pipeline or scheduler folder that says how the model was trained (default: "
        "the pipeline that the weights lie in, else Stable Diffusion's values)",
    )
    group.add_argument(
        "--keep-steps",
        action="store_true",
        help="the sampler also gives out timesteps and the latents after every step",
    )


def require(arguments: argparse.Namespace) -> None:
    """Refuses options that contradict one another."""
    if arguments.sampler and arguments.all:
        raise UsageError("--sampler with --all", "--sampler with --from, for each file")
    if arguments.from_file and not arguments.sampler:
        raise UsageError("--from without --sampler", "--sampler ddim, or another scheduler")


def guard(arguments: argparse.Namespace) -> None:
    """Refuses, before the UNet is exported, a scheduler that the sampler cannot have.

    The pipeline that the UNet comes from says how it was trained, wherever the file will lie.
    """
    if not arguments.sampler:
        return
    from exporter.sampler.plan import (
        beside,
        choose_family,
        find_config,
        guard_sampler,
        require_prediction,
    )

    if arguments.from_file:
        guard_sampler(arguments.output, arguments.from_file)
        return
    guard_sampler(beside(arguments.output), arguments.output)

    model = Path(arguments.model)
    if arguments.scheduler is None and model.exists() and find_config(model):
        arguments.trained_in = model
    folder = arguments.scheduler or arguments.trained_in
    config = find_config(folder) if folder else {}
    if arguments.scheduler and arguments.prediction:
        require_prediction(config, arguments.prediction, arguments.scheduler)
    choose_family(arguments.sampler, "UNet2DConditionModel", config)


def sample(
    arguments: argparse.Namespace, console: Console, unet: Path, target: Path | None
) -> int:
    """The sampling stage over a UNet's file that lies there."""
    with StageDisplay(console, quiet=arguments.quiet) as display:
        display.start("imports")
        from exporter.sampler.make import make_sampler
        from exporter.sampler.plan import SamplerRequest, beside

        display.finish("imports")
        request = SamplerRequest(
            target=target or beside(unet),
            unet=unet,
            sampler=arguments.sampler,
            scheduler=arguments.scheduler,
            pipeline=arguments.trained_in,
            keep_steps=arguments.keep_steps,
            check=arguments.check,
            provider=arguments.provider,
        )
        report = make_sampler(request, display.progress)
    if arguments.report and arguments.from_file:
        write_text(arguments.report, json.dumps(report.to_json(), indent=2) + "\n")
    Console().print(_line(report), highlight=False)
    return 0


def _line(report: SamplerReport) -> str:
    """The sampling stage that was written: its size, verdict and time."""
    proof = report.proof
    verdict = f"[green]passed[/] {proof.words('runs')}" if proof else "[yellow]not checked[/]"
    return (
        f"{escape(report.target.name)}: {report.scheduler}, {report.nodes} nodes and "
        f"{report.looped} in the loop, {in_bytes(report.nbytes)}; {verdict}; "
        f"{report.seconds:.1f} s"
    )
