"""Arguments, progress and exit codes of ``python -m exporter.sample``."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from exporter.errors import TargetError, UsageError
from exporter.sample.follow import tell, unfollowed
from exporter.shipped import shipped_folder
from exporter.terminal import Parser, StageDisplay, run

if TYPE_CHECKING:
    from exporter.sample.plan import RecordRequest
    from exporter.sample.record import RecordReport
    from exporter.sample.sweep import SweepReport

EPILOG = """\
examples:
  python -m exporter.sample unet.onnx
      20 DDIM steps with guidance, from seeded embeddings (plainly labelled as such)
  python -m exporter.sample unet.onnx run.safetensors --text-encoder my-pipeline \\
      --vae my-pipeline --prompt "a cat" --scheduler euler --steps 30
      a real prompt, with a decoded preview of every step
  python -m exporter.sample unet.onnx --compare
      the file as it is first, then watched: the overhead, and proof that every bit of
      out_sample is the same
  python -m exporter.sample unet.onnx time.safetensors --sweep 100
      no sampling: the time embedding and every injection at 100 timesteps

what is recorded (docs/RECORDING.md): the latents and predictions of every step; mean, rms,
min, max and std of every block; what each residual, skip and time injection carries against
what it meets; of each cross-attention the entropy and a map per token, averaged over heads.
See it with: python -m viewer.replay run.safetensors

exit codes:
  0  the recording was written
  2  bad usage or input; nothing was written
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Makes one recording and returns the exit code."""
    arguments = _parser().parse_args(argv)

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
        from exporter.sample.record import record  # seconds of torch: -h should not wait
        from exporter.sample.sweep import sweep

        display.finish("imports")
        request = _request(arguments, target)
        if arguments.sweep is not None:
            return _sweep_lines(sweep(request, arguments.sweep, display.progress))
        follow = tell(_say) if arguments.follow else unfollowed
        return _record_lines(record(request, display.progress, follow))


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


def _target(arguments: argparse.Namespace) -> Path:
    """The file to write, refused before any work where it cannot be."""
    kind = "sweep" if arguments.sweep is not None else "recording"
    model: Path = arguments.model
    if not model.name:
        raise UsageError(f"there is no file {model}", "an .onnx written by python -m exporter")
    target: Path = arguments.output or model.with_name(f"{model.stem}.{kind}.safetensors")
    if target.suffix != ".safetensors":
        raise TargetError(f"{target.name} as output", "a name that ends in .safetensors")
    if not target.parent.is_dir():
        raise TargetError(f"there is no folder {target.parent}", do="create it")
    if target.is_dir() or target.resolve() == model.with_suffix(".safetensors").resolve():
        raise TargetError(f"{target} is a folder or the model's own weights")
    return target


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
        compare=arguments.compare,
        provider=arguments.provider,
    )


def _pipeline(text: str) -> Path:
    """A folder, or the name of a pipeline that comes with the package."""
    return shipped_folder(text) or Path(text)


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


def _sweep_lines(report: SweepReport) -> list[str]:
    return [
        f"{report.target}: {report.nbytes / 1e6:.2f} MB, {report.timesteps} timesteps, "
        f"{report.injections} injections, {report.seconds:.1f} s"
    ]


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m exporter.sample",
        description="Runs a real denoising loop over an exported UNet, with diffusers' "
        "schedulers, and records what happens inside: which tokens each layer attends to, "
        "what the time changes, what the skips carry.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "model", type=Path, metavar="UNET.onnx", help="written by python -m exporter"
    )
    parser.add_argument(
        "output",
        type=Path,
        nargs="?",
        metavar="OUT.safetensors",
        help="the recording (default: UNET.recording.safetensors, beside the model)",
    )
    _loop_options(parser)
    _text_options(parser)
    _recording_options(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    return parser


def _loop_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the loop")
    group.add_argument("--steps", type=int, default=20, help="default: 20")
    group.add_argument(
        "--scheduler",
        metavar="WHAT",
        help="ddim, ddpm, deis, dpm++, dpm++-karras, euler, euler-a, heun, lcm, pndm, tcd or "
        "unipc with Stable Diffusion's noise schedule; any diffusers class name; or a folder "
        "with scheduler_config.json, a pipeline's too (default: the pipeline's, else ddim)",
    )
    group.add_argument(
        "--prediction",
        choices=("epsilon", "v_prediction", "sample"),
        help="what the model predicts (default: what the file says, else the scheduler's "
        "config, else epsilon)",
    )
    group.add_argument(
        "--guidance",
        type=float,
        default=7.5,
        metavar="SCALE",
        help="classifier-free guidance; 1 or less runs the conditional half alone "
        "(default: 7.5)",
    )
    group.add_argument("--seed", type=int, default=0, help="default: 0")
    group.add_argument(
        "--size", metavar="HxW", help="of the latents, e.g. 64x48 (default: the config's)"
    )
    group.add_argument(
        "--provider",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="where ONNX Runtime runs (default: auto)",
    )


def _text_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the text; without any of these, seeded embeddings")
    group.add_argument("--prompt", default="", help="what to paint; needs a text encoder")
    group.add_argument("--negative-prompt", default="", help="the unconditional half's text")
    group.add_argument(
        "--pipeline",
        type=_pipeline,
        metavar="DIR",
        help="a pipeline's folder or `shapes`: its text encoder, VAE and scheduler (default: "
        "the shipped pipeline that the file was made from, if it was)",
    )
    group.add_argument(
        "--text-encoder",
        type=_pipeline,
        metavar="DIR",
        help="a pipeline's folder (SDXL's two encoders too), or a text encoder's",
    )
    group.add_argument(
        "--embeddings",
        type=Path,
        metavar="FILE",
        help=".npy of shape (S, C) or (2, S, C), unconditional first; or .safetensors under "
        "diffusers' names prompt_embeds, negative_prompt_embeds, pooled_prompt_embeds, ...",
    )


def _recording_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the recording")
    group.add_argument("--image", type=Path, metavar="FILE.png", help="the image, decoded")
    group.add_argument(
        "--vae", type=_pipeline, metavar="DIR", help="decode a small preview of every step"
    )
    group.add_argument(
        "--maps",
        choices=("float16", "float32", "none"),
        default="float16",
        help="how attention maps are stored; they are most of the file (default: float16)",
    )
    group.add_argument("--heads", action="store_true", help="keep the maps of each head too")
    group.add_argument(
        "--compare",
        action="store_true",
        help="run the file as it is first: states the overhead and compares every bit",
    )
    group.add_argument(
        "--follow",
        action="store_true",
        help="for another program: a line of JSON on stdout for every evaluation, with the "
        "file that holds it already (docs/RECORDING.md)",
    )
    group.add_argument(
        "--sweep",
        type=int,
        metavar="N",
        help="do not sample: the time path alone, at N timesteps from 0 to 999",
    )
