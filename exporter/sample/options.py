"""The options of ``python -m exporter.sample``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from exporter.errors import AtlasError
from exporter.sample.experiments import wish
from exporter.shipped import shipped_folder
from exporter.targets import IMPORTANCE, PNG, RECORDING, Target
from exporter.terminal import Number, Parser

EPILOG = """\
examples:
  python -m exporter.sample unet.onnx
      20 DDIM steps with guidance, from seeded embeddings (plainly labelled as such)
  python -m exporter.sample unet.onnx run.safetensors --text-encoder my-pipeline \\
      --vae my-pipeline --prompt "a cat" --scheduler euler --steps 30
      a real prompt, with a decoded preview of every step
  python -m exporter.sample shapes.onnx --prompt "a red circle on white" \\
      --without skip:3 --scale time:down_blocks.0=0.5@1-5 --mask-token red
      the same image with a part of the graph cut, another one halved at the first five
      steps, and a word that no layer sees
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


def command_line() -> argparse.ArgumentParser:
    """The arguments of ``python -m exporter.sample``."""
    made = Parser(
        prog="python -m exporter.sample",
        description="Runs a real denoising loop over an exported UNet, with diffusers' "
        "schedulers, and records what happens inside: which tokens each layer attends to, "
        "what the time changes, what the skips carry.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "model", type=Path, metavar="UNET.onnx", help="written by python -m exporter"
    )
    made.add_argument(
        "output",
        type=Target((RECORDING, IMPORTANCE), beside=(".md", ".svg")),
        nargs="?",
        metavar="OUT.safetensors",
        help="the recording (default: UNET.recording.safetensors, beside the model); with "
        "--importance the table, a .json",
    )
    _loop_options(made)
    _text_options(made)
    _experiment_options(made)
    _recording_options(made)
    made.add_argument("--quiet", action="store_true", help="no progress")
    made.add_argument("--debug", action="store_true", help="show tracebacks")
    return made


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
        type=Number(float, 0),
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


def _experiment_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "experiments: what happens if (docs/EXPERIMENTS.md)",
        "edits of a copy of the graph; each can be given several times, and @A-B behind it "
        "says at which steps, the first being 1. KIND is one of " + ", ".join(wish.KINDS),
    )
    for option, read, form, told in (
        ("--without", wish.without, "KIND:PLACE[@A-B]", "switched off, e.g. skip:3"),
        ("--scale", wish.scaled, "KIND:PLACE=F[@A-B]", "multiplied by F"),
        (
            "--mask-token",
            wish.masked,
            "WORD[/MODULE[#HEAD]][@A-B]",
            "a word that no cross-attention sees, or none of a module, or a head of it",
        ),
        ("--swap-tokens", wish.swapped, "A,B[@A-B]", "two words that change places"),
        ("--freeu", wish.freeu, "S1,S2,B1,B2[@A-B]", "FreeU's factors, as in diffusers"),
    ):
        group.add_argument(
            option,
            dest="wishes",
            action="append",
            default=[],
            type=_wish(read),
            metavar=form,
            help=told,
        )


def _wish(read: Callable[[str], wish.Wish]) -> Callable[[str], wish.Wish]:
    def parse(text: str) -> wish.Wish:
        try:
            return read(text)
        except AtlasError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parse


def _recording_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the recording")
    group.add_argument(
        "--image", type=Target((PNG,)), metavar="FILE.png", help="the image, decoded"
    )
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
        "--self",
        type=int,
        default=0,
        dest="self_places",
        metavar="PLACES",
        help="keep where every place looks in self-attentions of at most so many places, e.g. "
        "144 for 12x12 (at most 1024); the file grows with their square",
    )
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
        "--importance",
        type=Path,
        metavar="PROMPTS.txt",
        help="no recording: switches off every skip, attention and block in turn, for each "
        "line of a file, and writes a table of what each one is for (OUT.json, .md, .svg)",
    )
    group.add_argument(
        "--sweep",
        type=int,
        metavar="N",
        help="do not sample: the time path alone, at N timesteps from 0 to 999",
    )


def _pipeline(text: str) -> Path:
    """A folder, or the name of a pipeline that comes with the package."""
    return shipped_folder(text) or Path(text)
