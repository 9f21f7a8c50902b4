"""Arguments and exit codes of ``python -m viewer.replay``."""

from __future__ import annotations

import argparse
import io
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from viewer.disk import make_folder, write_whole
from viewer.errors import RecordingError
from viewer.extras import need
from viewer.model import atlas
from viewer.model.condense import condense
from viewer.model.recording import Recording, read_recording
from viewer.replay import CONTRAST_PLOTS, LOOK_PLOTS, PLOTS, tensorboard
from viewer.replay.contrast import contrast
from viewer.replay.looks import Pixel, layers, looks, together
from viewer.replay.words import Choice, word_maps, words
from viewer.serve import offline
from viewer.serve.command import add_page_options, serve
from viewer.serve.shown import Shown
from viewer.targets import ARRAYS, CONTRAST, EVENTS, HTML, PNG, RUN, Target, guard
from viewer.terminal import Parser, run, say

_EXAMPLES = """\
examples:
  python -m viewer.replay run.safetensors
      opens a browser on the recording: a timeline to scrub, the map coloured by any quantity,
      curves of every module, attention maps per token and layer
  python -m viewer.replay run.safetensors --html run.html
      one file to share, condensed; it opens anywhere, without a server
  python -m viewer.replay run.safetensors --png plots --step 12
      every figure as PNG, attention maps of step 12
  python -m viewer.replay run.safetensors --tensorboard runs
      scalars and images for tensorboard --logdir runs
  python -m viewer.replay plain.safetensors --against cut.safetensors --png plots
      what differs between two recordings of one model: image, curves, attention

Recordings are made by python -m exporter.sample (docs/RECORDING.md). The map needs the .onnx
that was recorded: it is looked for beside the recording, see --model.

exit codes: 0 done; 2 bad usage or input
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = command_line()
    options = parser.parse_args(arguments)
    return run(lambda: _run(parser, options))


def command_line() -> Parser:
    """The arguments of ``python -m viewer.replay``."""
    parser = Parser(
        "python -m viewer.replay", "See what a UNet did while it sampled.", _EXAMPLES
    )
    parser.add_argument("recording", type=Path, metavar="run.safetensors")
    parser.add_argument(
        "--model", type=Path, metavar="unet.onnx", help="the recorded model, for the map"
    )
    parser.add_argument(
        "--against",
        type=Path,
        metavar="other.safetensors",
        help="tell what is different in another recording of the model; with --png, --json",
    )
    add_page_options(parser)
    files = parser.add_argument_group("files instead of a page")
    files.add_argument(
        "--html", type=Target((HTML,)), metavar="FILE", help="one self-contained page"
    )
    files.add_argument(
        "--png", type=Target((PNG,), "*.png"), metavar="DIR", help="every figure as PNG"
    )
    files.add_argument(
        "--step",
        type=int,
        help="whose attention maps --png draws (default: the middle)",
    )
    files.add_argument(
        "--tensorboard",
        type=Target((EVENTS,), f"*/{RUN}-recording"),
        metavar="LOGDIR",
        help="scalars and images per step",
    )
    files.add_argument(
        "--words",
        type=Target((ARRAYS,)),
        metavar="FILE.npz",
        help="each word's attention at every step, all layers together",
    )
    files.add_argument(
        "--layer",
        type=int,
        action="append",
        metavar="I",
        help="with --words: this cross-attention alone, from 1 in the order of data",
    )
    files.add_argument(
        "--head", type=int, metavar="I", help="with --words: this head alone, from 1"
    )
    files.add_argument(
        "--no-special",
        action="store_true",
        help="with --words: without start and end tokens, the rest sums to 1",
    )
    files.add_argument(
        "--pixel",
        type=_pixel,
        metavar="Y,X",
        help="where this place of the latents looks, from 0,0: --png draws it alone, --looks "
        "has the numbers; needs a recording with --self",
    )
    files.add_argument(
        "--looks",
        type=Target((ARRAYS,)),
        metavar="FILE.npz",
        help="with --pixel: its self-attention at every step, each layer and all together",
    )
    files.add_argument(
        "--json",
        type=Target((CONTRAST,)),
        metavar="FILE",
        help="with --against: all differences as numbers",
    )
    return parser


def _run(parser: Parser, options: argparse.Namespace) -> None:
    inputs = [
        ("the recording", options.recording),
        ("the other recording", options.against),
        ("the model", options.model),
    ]
    guard(parser, options, inputs)
    recording = read_recording(options.recording)
    if options.json and not options.against:
        raise RecordingError("--json without --against", "another recording to compare with")
    if options.against:
        _compare(recording, options)
        return
    if options.words:
        _write_words(recording, options)
        return
    if options.looks and not options.pixel:
        raise RecordingError("--looks without --pixel", "the place that looks, e.g. 3,8")
    if options.pixel:
        _write_looks(recording, options)
        return
    step = _step(options.step, recording)
    path = options.model or _beside(recording)
    guard(parser, options, [("the model", path)])
    model = _model(path, recording)
    guard(parser, options, model.file.parts if model else ())
    if options.html:
        write_whole(options.html, offline.replay(condense(recording), model))
        say(f"wrote {options.html}")
    if options.png:
        count = _write_figures(need(*PLOTS).figures(recording, step), options.png)
        say(f"wrote {count} figures to {options.png}")
    if options.tensorboard:
        say(f"wrote {tensorboard.write(recording, options.tensorboard)}")
    if not (options.html or options.png or options.tensorboard):
        shown = Shown((model,) if model else (), recording=recording)
        serve(shown, options, recording.title, "recording")


def _model(path: Path | None, recording: Recording) -> atlas.Atlas | None:
    if path is None:
        return None
    model = atlas.read(path)
    recording.require_model(model.name)
    return model


def _beside(recording: Recording) -> Path | None:
    """The model of the recorded name beside the recording, if it is there."""
    written = recording.metadata.get("model")
    name = Path(str(written.get("file", ""))).name if isinstance(written, dict) else ""
    path = recording.path.parent / name
    if name and path.is_file():
        return path
    say(f"no {name or 'model'} beside {recording.path.name}: no map (see --model)")
    return None


def _step(asked: int | None, recording: Recording) -> int:
    if asked is None:
        return recording.steps // 2
    if not 1 <= asked <= recording.steps:
        raise RecordingError(f"--step {asked}", f"1 to {recording.steps}")
    return asked - 1


def _compare(recording: Recording, options: argparse.Namespace) -> None:
    if options.html or options.tensorboard or options.model or options.step:
        raise RecordingError("--against with a page, a model or a step", "--png or --json")
    found = contrast(recording, read_recording(options.against))
    for line in found.summary():
        say(line)
    if options.json:
        write_whole(options.json, json.dumps(found.to_json(), indent=1).encode())
        say(f"wrote {options.json}")
    if options.png:
        count = _write_figures(need(*CONTRAST_PLOTS).figures(found), options.png)
        say(f"wrote {count} figures to {options.png}")


def _write_words(recording: Recording, options: argparse.Namespace) -> None:
    row = len(recording.rows) - 1
    said = words(recording, row)
    head = None if options.head is None else options.head - 1
    layers = tuple(layer - 1 for layer in options.layer or ())
    found = word_maps(recording, said, row, Choice(layers, head, not options.no_special))
    content = io.BytesIO()
    np.savez_compressed(
        content,
        maps=np.stack(list(found)),
        words=np.array([word.text for word in said]),
        timestep=recording.read("timestep"),
    )
    write_whole(options.words, content.getvalue())
    say(f"wrote {options.words}: {recording.steps} steps, {len(said)} words")


def _pixel(text: str) -> Pixel:
    match = re.fullmatch(r"([0-9]{1,5}),([0-9]{1,5})", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r}; expected Y,X, e.g. 3,8")
    return Pixel(int(match[1]), int(match[2]))


def _write_looks(recording: Recording, options: argparse.Namespace) -> None:
    if not (options.looks or options.png):
        raise RecordingError("--pixel alone", "--png or --looks")
    if options.looks:
        found = [*looks(recording, options.pixel, len(recording.rows) - 1)]
        each: dict[str, Any] = {
            f"layer.{index + 1}": np.stack([maps[at] for maps in found])
            for at, index in enumerate(layers(recording))
        }
        content = io.BytesIO()
        whole = np.stack([together(maps) for maps in found])
        time = recording.read("timestep")
        np.savez_compressed(content, maps=whole, timestep=time, **each)
        write_whole(options.looks, content.getvalue())
        say(f"wrote {options.looks}: {len(found)} steps, {len(each)} layers")
    if options.png:
        image = need(*LOOK_PLOTS).look_figure(recording, options.pixel)
        _write_figures([("pixel", image)], options.png)
        say(f"wrote {options.png / 'pixel.png'}")


def _write_figures(figures: Iterable[tuple[str, Any]], folder: Path) -> int:
    count = 0
    make_folder(folder)
    for name, image in figures:
        content = io.BytesIO()
        image.save(content, "PNG")
        write_whole(folder / f"{name}.png", content.getvalue())
        count += 1
    return count
