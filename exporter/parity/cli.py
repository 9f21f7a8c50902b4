"""Arguments, progress and exit codes of ``python -m exporter.parity``; it alone prints."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from exporter.disk import write_text
from exporter.errors import UsageError
from exporter.parts import parts_of_file, parts_of_folder, parts_of_loras
from exporter.targets import JUNIT, MARKDOWN, PARITY_REPORT, SVG, Target, guard
from exporter.terminal import SEED, Number, Parser, StageDisplay, run

if TYPE_CHECKING:
    from exporter.parity.cases import ParityCase
    from exporter.parity.outcome import Outcome
    from exporter.parity.subject import Subject
    from exporter.parity.trajectory import Trajectory
    from exporter.runtime.contract import Contract
    from exporter.types import OnProgress, Source

SCHEDULERS = ("ddim", "pndm", "euler", "dpm++")

EPILOG = """\
examples:
  python -m exporter.parity unet.onnx
      a file of ours: the model is read from its metadata, a preset's weights are drawn again
  python -m exporter.parity model.onnx --model my-pipeline --cases standard --report x.json
      any UNet with conventional inputs, Optimum's for instance, against a diffusers folder
  python -m exporter.parity unet.onnx --case B2H96W64S77 --case B1H33W35S1T0 --locate
      two cases of your own, and which module departs first
  python -m exporter.parity unet.onnx --trajectory 10 --plot drift.svg --markdown summary.md
      ten steps of four schedulers with both backends, and their drift

exit codes:
  0  the file computes what PyTorch computes
  1  it does not
  2  bad usage or input
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Checks one file and returns the exit code."""
    arguments = _parser().parse_args(argv)
    return run(lambda console: _main(arguments, console), debug=arguments.debug)


def _main(arguments: argparse.Namespace, console: Console) -> int:
    outcome = _run(arguments, console)
    _write_reports(arguments, outcome)
    from exporter.parity.render.table import table

    Console().print(table(outcome), highlight=False)
    return 0 if outcome.passed else 1


def _run(arguments: argparse.Namespace, console: Console) -> Outcome:
    start = time.perf_counter()
    _guard(arguments)
    with StageDisplay(console, quiet=arguments.quiet) as display:
        display.start("imports")
        from exporter.parity.check import check  # seconds of torch: -h should not wait for it
        from exporter.parity.locate import locate
        from exporter.parity.outcome import Outcome
        from exporter.parity.subject import Subject
        from exporter.parity.tolerance import resolve
        from exporter.runtime.contract import read_contract

        display.finish("imports")
        contract = read_contract(arguments.file)
        source = contract.conditioned(_source(arguments, contract, display.progress))
        contract.require(source)
        cases, skipped = _cases(arguments, contract, source)
        dtype = arguments.dtype or contract.dtype
        subject = Subject(source, dtype, contract.keep_fp32, arguments.provider)
        report = check(
            arguments.file,
            subject,
            cases=cases,
            tolerance=resolve(dtype, arguments.atol, arguments.rtol, arguments.floor_factor),
            floor=arguments.floor,
            on_progress=display.progress,
        )
        report = replace(report, skipped=skipped)
        location = None
        if arguments.locate or not report.passed:
            location = locate(
                arguments.file, subject, report.to_search, on_progress=display.progress
            )
        trajectories = _trajectories(arguments, subject, display.progress)
    seconds = time.perf_counter() - start
    return Outcome(arguments.file.name, report, location, trajectories, seconds)


def _guard(arguments: argparse.Namespace) -> None:
    """Refuses what cannot end well before minutes are spent on it."""
    if arguments.trajectory is not None and arguments.trajectory < 1:
        raise UsageError(f"--trajectory {arguments.trajectory}", "1 step or more")
    if arguments.plot and not arguments.trajectory:
        raise UsageError("--plot without --trajectory", do="say how many steps to draw")
    if arguments.plot and find_spec("matplotlib") is None:
        raise UsageError("--plot without matplotlib", do="pip install matplotlib")
    inputs = [
        *parts_of_file(arguments.file),
        *parts_of_folder(arguments.model),
        *parts_of_loras(arguments.fuse_lora or ()),
    ]
    for place in arguments.controlnet or ():
        inputs += parts_of_folder(place, "a ControlNet")
    guard(_parser(), arguments, inputs)


def _source(arguments: argparse.Namespace, contract: Contract, progress: OnProgress) -> Source:
    """The model asked for, or the one that one of our files names itself."""
    from exporter.source import load_source, with_controlnets
    from exporter.weights.fused import with_loras

    model, revision, seed = arguments.model, arguments.revision, arguments.seed
    if model is None:
        made = contract.model
        if made is None or not (made.random or "/" in made.name):
            found = f"a file made from {made.name}" if made else "a file without our metadata"
            raise UsageError(found, do="say what it should equal: --model WHAT")
        model, revision = made.name, revision or made.revision
        seed = made.seed if seed is None else seed
    if contract.fused and not arguments.fuse_lora:
        raise UsageError(
            f"{arguments.file.name} has LoRAs in its weights: {', '.join(contract.fused)}",
            "--fuse-lora FILE=SCALE for each",
        )
    source = load_source(
        model,
        subfolder=arguments.subfolder,
        revision=revision,
        variant=arguments.variant,
        seed=seed or 0,
        progress=progress,
    )
    return with_controlnets(with_loras(source, arguments.fuse_lora), arguments.controlnet)


def _cases(
    arguments: argparse.Namespace, contract: Contract, source: Source
) -> tuple[tuple[ParityCase, ...], tuple[str, ...]]:
    """What to ask, and why the rest of the set cannot be asked of this file."""
    from exporter.parity.cases import ParityCase, cases_of, fitted, refusal

    if arguments.case:
        cases = tuple(ParityCase.parse(text) for text in arguments.case)
        for case in cases:
            if refusal(case, contract):
                raise UsageError(refusal(case, contract), "a case that the file takes")
        return cases, ()
    chosen = cases_of(source, arguments.cases)
    wanted = tuple(dict.fromkeys(fitted(case, contract) for case in chosen))
    kept = tuple(case for case in wanted if not refusal(case, contract))
    if not kept:
        raise UsageError(refusal(wanted[0], contract), do="name one that it takes with --case")
    return kept, tuple(reason for case in wanted if (reason := refusal(case, contract)))


def _trajectories(
    arguments: argparse.Namespace, subject: Subject, progress: OnProgress
) -> tuple[Trajectory, ...]:
    if not arguments.trajectory:
        return ()
    from exporter.denoising.schedulers import pipeline_config
    from exporter.parity.cases import ParityCase, fit
    from exporter.parity.trajectory import run_trajectories

    case = fit(ParityCase.parse(arguments.trajectory_case), subject.source.size_multiple)
    return run_trajectories(
        arguments.file,
        subject,
        case,
        steps=arguments.trajectory,
        schedulers=arguments.scheduler or SCHEDULERS,
        scheduler_config=pipeline_config(Path(arguments.model or "")),
        guidance=arguments.guidance,
        floor=arguments.floor,
        on_progress=progress,
    )


def _write_reports(arguments: argparse.Namespace, outcome: Outcome) -> None:
    from exporter.parity.render.junit import junit
    from exporter.parity.render.markdown import markdown

    formats: dict[str, Callable[[], str]] = {
        "report": lambda: json.dumps(outcome.to_json(), indent=2) + "\n",
        "junit": lambda: junit(outcome),
        "markdown": lambda: markdown(outcome),
        "plot": lambda: _plot(outcome),
    }
    for option, text in formats.items():
        path = getattr(arguments, option)
        if path is not None:
            write_text(path, text())


def _plot(outcome: Outcome) -> str:
    from exporter.parity.render.plot import plot

    return plot(outcome.trajectories, f"Drift of {outcome.file} from PyTorch")


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m exporter.parity",
        description="Checks that an ONNX UNet computes what PyTorch computes: over a range of "
        "inputs, against the error that is unavoidable, along whole sampling runs; and finds "
        "the module that does not.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, metavar="FILE.onnx")
    _model_options(parser)
    _case_options(parser)
    _judge_options(parser)
    _trajectory_options(parser)
    _report_options(parser)
    return parser


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
    group.add_argument("--quiet", action="store_true", help="no progress")
    group.add_argument("--debug", action="store_true", help="show tracebacks")
