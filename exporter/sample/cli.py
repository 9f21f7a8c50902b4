"""Arguments, progress and exit codes of ``python -m exporter.sample``."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from exporter.errors import TargetError, UsageError
from exporter.parts import parts_of_file, parts_of_folder
from exporter.sample.follow import tell, unfollowed
from exporter.sample.options import command_line
from exporter.targets import guard
from exporter.terminal import StageDisplay, run

if TYPE_CHECKING:
    from exporter.sample.importance.run import ImportanceReport
    from exporter.sample.plan import RecordRequest
    from exporter.sample.record import RecordReport
    from exporter.sample.sweep import SweepReport


def main(argv: Sequence[str] | None = None) -> int:
    """Makes one recording and returns the exit code."""
    arguments = command_line().parse_args(argv)

    def work(console: Console) -> int:
        lines = _run(arguments, console)
        for line in () if arguments.follow else lines:
            Console().print(line, markup=False, highlight=False, soft_wrap=True)
        return 0

    return run(work, debug=arguments.debug, left="nothing was written")


def _run(arguments: argparse.Namespace, console: Console) -> list[str]:
    target = _target(arguments)
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # ours is shown
    with StageDisplay(console, quiet=arguments.quiet) as display:
        display.start("imports")
        from exporter.sample.importance.run import importance
        from exporter.sample.record import record  # seconds of torch: -h should not wait
        from exporter.sample.sweep import sweep

        display.finish("imports")
        request = _request(arguments, target)
        if arguments.sweep is not None:
            if request.wishes:
                raise UsageError("--sweep with an experiment", "one of them")
            return _sweep_lines(sweep(request, arguments.sweep, display.progress))
        if arguments.importance is not None:
            found = importance(request, arguments.importance, display.progress)
            return _importance_lines(found)
        follow = tell(_say) if arguments.follow else unfollowed
        return _record_lines(record(request, display.progress, follow))


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


def _target(arguments: argparse.Namespace) -> Path:
    """The file to write, refused before any work where it cannot be."""
    if arguments.importance is not None and arguments.sweep is not None:
        raise UsageError("--importance with --sweep", "one of them")
    kind = "sweep" if arguments.sweep is not None else "recording"
    suffix = ".safetensors"
    if arguments.importance is not None:
        kind, suffix = "importance", ".json"
    model: Path = arguments.model
    if not model.name:
        raise UsageError(f"there is no file {model}", "an .onnx written by python -m exporter")
    target: Path = arguments.output or model.with_name(f"{model.stem}.{kind}{suffix}")
    arguments.output = target
    guard(command_line(), arguments, _inputs(arguments))
    if target.suffix != suffix:
        raise TargetError(f"{target.name} as output", f"a name that ends in {suffix}")
    return target


def _inputs(arguments: argparse.Namespace) -> Iterator[tuple[str, Path]]:
    """Every file that a recording or a table is made from."""
    yield from parts_of_file(arguments.model)
    files = {"the embeddings": arguments.embeddings, "the prompts": arguments.importance}
    yield from ((what, file) for what, file in files.items() if file)
    folders = {
        "the pipeline": arguments.pipeline,
        "the text encoder": arguments.text_encoder,
        "the VAE": arguments.vae,
        "the scheduler's config": arguments.scheduler,
    }
    for what, folder in folders.items():
        yield from parts_of_folder(folder, what)


def _request(arguments: argparse.Namespace, target: Path) -> RecordRequest:
    from exporter.sample.plan import RecordRequest

    return RecordRequest(
        model=arguments.model,
        target=target,
        steps=arguments.steps,
        scheduler=arguments.scheduler,
        prediction=arguments.prediction,
        guidance=arguments.guidance,
        seed=arguments.seed,
        size=_size(arguments.size),
        prompt=arguments.prompt,
        negative=arguments.negative_prompt,
        pipeline=arguments.pipeline,
        text_encoder=arguments.text_encoder,
        embeddings=arguments.embeddings,
        vae=arguments.vae,
        image=arguments.image,
        maps=arguments.maps,
        heads=arguments.heads,
        self_places=arguments.self_places,
        compare=arguments.compare,
        provider=arguments.provider,
        wishes=tuple(arguments.wishes),
    )


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match is None:
        raise UsageError(f"--size {text}", "latent height and width, e.g. 64x48")
    return int(match[1]), int(match[2])


def _record_lines(report: RecordReport) -> list[str]:
    found = report.points
    lines = [
        f"{report.target}: {report.nbytes / 1e6:.1f} MB, {report.steps} evaluations of "
        f"{' + '.join(report.rows)}",
        f"text: {report.prompt}",
        *([f"experiment: {', '.join(map(str, report.wishes))}"] if report.wishes else []),
        f"measured: {found['blocks']} blocks, {found['residuals']} residuals, "
        f"{found['injections']} time injections, {found['skips']} skips, "
        f"{found['attentions']} cross-attentions",
        f"time: {report.seconds_step:.3f} s an evaluation on {report.provider}, "
        f"{report.seconds:.1f} s in all; peak memory {report.peak_memory / 1e9:.2f} GB",
    ]
    if report.seconds_plain is not None and report.overhead is not None:
        same = report.largest_difference == 0
        lines.append(
            f"compared: {report.seconds_plain:.3f} s as it is, watching adds "
            f"{report.overhead:.0%}; out_sample "
            + ("is the same bit for bit" if same else "DIFFERS")
            + ("" if same else f" by up to {report.largest_difference:.2g}")
        )
    return lines


def _importance_lines(report: ImportanceReport) -> list[str]:
    count, most = len(report.table.plan["prompts"]), report.table.ranked[:3]
    resumed = f", {report.resumed} of them measured before" if report.resumed else ""
    return [
        f"{', '.join(map(str, report.files))}",
        f"{count} prompts, {len(report.table.parts)} parts, "
        f"{count * len(report.table.parts)} images{resumed}",
        *(
            f"{part.wish.kind}:{part.wish.place} off: the image changes by {part.image:.0%}, "
            f"the prediction most at step {part.step}"
            for part in most
        ),
        f"time: {report.seconds:.1f} s; peak memory {report.peak_memory / 1e9:.2f} GB",
    ]


def _sweep_lines(report: SweepReport) -> list[str]:
    return [
        f"{report.target}: {report.nbytes / 1e6:.2f} MB, {report.timesteps} timesteps, "
        f"{report.injections} injections, {report.seconds:.1f} s"
    ]
