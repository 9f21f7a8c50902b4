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

from exporter.conditions.controlnet import SCALE
from exporter.disk import write_text
from exporter.errors import ParityError, UsageError
from exporter.parity.options import SCHEDULERS, command_line
from exporter.parts import parts_of_file, parts_of_folder, parts_of_loras
from exporter.targets import guard
from exporter.terminal import StageDisplay, run

if TYPE_CHECKING:
    from exporter.parity.cases import ParityCase
    from exporter.parity.locate import Location
    from exporter.parity.outcome import Outcome
    from exporter.parity.reduce import Reduction
    from exporter.parity.report import ParityReport
    from exporter.parity.subject import Subject
    from exporter.parity.trajectory import Trajectory
    from exporter.runtime.contract import Contract
    from exporter.runtime.providers import Obtained
    from exporter.types import OnProgress, Source


def main(argv: Sequence[str] | None = None) -> int:
    """Checks one file and returns the exit code."""
    arguments = command_line().parse_args(argv)
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
        from exporter.parity.outcome import Outcome
        from exporter.parity.reduce import require_numbers
        from exporter.parity.subject import Subject
        from exporter.parity.tolerance import resolve
        from exporter.runtime.contract import read_contract

        display.finish("imports")
        contract = read_contract(arguments.file)
        source = contract.conditioned(_source(arguments, contract, display.progress))
        contract.require(source)
        if arguments.trajectory and len(source.outputs) > 1:
            raise UsageError(f"--trajectory with a {source.class_name}", "a UNet")
        cases, skipped = _cases(arguments, contract, source)
        dtype = arguments.dtype or contract.dtype
        subject = Subject(source, dtype, contract.keep_fp32, arguments.provider)
        if arguments.reduce is not None:
            require_numbers(subject)
        report = check(
            arguments.file,
            subject,
            cases=cases,
            tolerance=resolve(dtype, arguments.atol, arguments.rtol, arguments.floor_factor),
            floor=arguments.floor,
            on_progress=display.progress,
        )
        report = replace(report, skipped=skipped)
        location, reduction = _search(arguments, subject, report, display.progress)
        trajectories = _trajectories(arguments, subject, display.progress)
    seconds = time.perf_counter() - start
    return Outcome(arguments.file.name, report, location, trajectories, seconds, reduction)


def _search(
    arguments: argparse.Namespace, subject: Subject, report: ParityReport, progress: OnProgress
) -> tuple[Location | None, Reduction | None]:
    """Where it departs, and the smallest file that does, as far as either is wanted."""
    from exporter.parity.locate import search
    from exporter.parity.reduce import reduce_departure
    from exporter.parity.reduce.files import write
    from exporter.runtime.providers import EXECUTION_PROVIDERS

    if report.passed and not arguments.locate:
        return None, None
    case = report.to_search
    location, departure = search(arguments.file, subject, case, on_progress=progress)
    if arguments.reduce is None or departure is None:
        return location, None
    try:
        reduction = reduce_departure(departure, subject, case)
    except ParityError as error:
        return replace(location, note=str(error)), None
    provider: Obtained = "cuda" if report.provider_used == "cuda" else "cpu"
    write(reduction, arguments.reduce, EXECUTION_PROVIDERS[provider])
    return location, reduction


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
    inputs += [("an IP-Adapter", Path(name).expanduser()) for name in arguments.ip_adapter]
    guard(command_line(), arguments, inputs)
    if arguments.reduce is not None:
        from exporter.parity.reduce.files import guard as guard_reduction

        guard_reduction(arguments.reduce, arguments.file)


def _source(arguments: argparse.Namespace, contract: Contract, progress: OnProgress) -> Source:
    """The model asked for, or the one that one of our files names itself."""
    from exporter.source import load_source, with_controlnets
    from exporter.weights.fused import with_loras
    from exporter.weights.image_prompt import with_ip_adapters

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
    source = with_ip_adapters(with_loras(source, arguments.fuse_lora), arguments.ip_adapter)
    guess_mode = len(contract.shapes.get(f"{SCALE}0", ())) == 1
    return with_controlnets(source, arguments.controlnet, guess_mode=guess_mode)


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
    from exporter.parity.render.github import workflow_commands
    from exporter.parity.render.junit import junit
    from exporter.parity.render.markdown import markdown

    formats: dict[str, Callable[[], str]] = {
        "report": lambda: json.dumps(outcome.to_json(), indent=2) + "\n",
        "junit": lambda: junit(outcome),
        "markdown": lambda: markdown(outcome),
        "annotations": lambda: workflow_commands(outcome),
        "plot": lambda: _plot(outcome),
    }
    for option, text in formats.items():
        path = getattr(arguments, option)
        if path is not None:
            write_text(path, text())


def _plot(outcome: Outcome) -> str:
    from exporter.parity.render.plot import plot

    return plot(outcome.trajectories, f"Drift of {outcome.file} from PyTorch")
