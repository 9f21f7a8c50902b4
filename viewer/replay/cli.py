"""Arguments and exit codes of ``python -m viewer.replay``."""

from __future__ import annotations

import argparse
import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from viewer.disk import write_whole
from viewer.errors import RecordingError, TargetError, ViewerError
from viewer.model import atlas
from viewer.model.atlas import Atlas
from viewer.model.recording import Recording, read_recording
from viewer.replay import plots, tensorboard
from viewer.replay.condense import condense
from viewer.serve import netron
from viewer.serve.replay_page import offline_page
from viewer.serve.server import Server
from viewer.serve.shown import Shown

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

Recordings are made by python -m exporter.sample (docs/RECORDING.md). The map needs the .onnx
that was recorded: it is looked for beside the recording, see --model.

exit codes: 0 done; 2 bad usage or input
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        _run(options)
    except ViewerError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    except KeyboardInterrupt:
        return 0
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m viewer.replay",
        description="See what a UNet did while it sampled.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("recording", type=Path, metavar="run.safetensors")
    parser.add_argument(
        "--model", type=Path, metavar="unet.onnx", help="the recorded model, for the map"
    )
    page = parser.add_argument_group("the page")
    page.add_argument(
        "--host", default="127.0.0.1", help="address to serve on (default: %(default)s)"
    )
    page.add_argument("--port", type=int, default=0, help="port (default: any free one)")
    page.add_argument("--no-browser", action="store_true", help="do not open a browser")
    files = parser.add_argument_group("files instead of a page")
    files.add_argument("--html", type=Path, metavar="FILE", help="one self-contained page")
    files.add_argument("--png", type=Path, metavar="DIR", help="every figure as PNG")
    files.add_argument(
        "--step",
        type=int,
        help="whose attention maps --png draws (default: the middle)",
    )
    files.add_argument(
        "--tensorboard", type=Path, metavar="LOGDIR", help="scalars and images per step"
    )
    return parser


def _run(options: argparse.Namespace) -> None:
    recording = read_recording(options.recording)
    model = _model(options.model, recording)
    if options.html:
        write_whole(options.html, offline_page(condense(recording), model))
        _say(f"wrote {options.html}")
    if options.png:
        count = _write_figures(recording, options.png, _step(options.step, recording))
        _say(f"wrote {count} figures to {options.png}")
    if options.tensorboard:
        _say(f"wrote {tensorboard.write(recording, options.tensorboard)}")
    if not (options.html or options.png or options.tensorboard):
        _serve(recording, model, options)


def _model(asked: Path | None, recording: Recording) -> Atlas | None:
    """The model asked for, else the file of the recorded name beside the recording."""
    if asked is not None:
        return atlas.read(asked)
    written = recording.metadata.get("model")
    name = Path(str(written.get("file", ""))).name if isinstance(written, dict) else ""
    path = recording.path.parent / name
    if name and path.is_file():
        return atlas.read(path)
    _say(f"no {name or 'model'} beside {recording.path.name}: no map (see --model)")
    return None


def _step(asked: int | None, recording: Recording) -> int:
    if asked is None:
        return recording.steps // 2
    if not 1 <= asked <= recording.steps:
        raise RecordingError(f"--step {asked}", f"1 to {recording.steps}")
    return asked - 1


def _write_figures(recording: Recording, folder: Path, step: int) -> int:
    count = 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, image in plots.figures(recording, step):
            image.save(folder / f"{name}.png")
            count += 1
    except OSError as error:
        raise TargetError(
            f"{folder} cannot be written to ({error.strerror})", "a folder for figures"
        ) from error
    return count


def _serve(recording: Recording, model: Atlas | None, options: argparse.Namespace) -> None:
    shown = Shown((model,) if model else (), recording=recording)
    server = Server(shown, netron.find(), options.host, options.port)
    address = f"{server.url}recording"
    _say(f"{recording.title}: {address}  (Ctrl-C ends)")
    if not options.no_browser:
        webbrowser.open(address)
    try:
        server.serve_forever()
    finally:
        server.server_close()


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201
