"""Arguments and exit codes: what ``python -m viewer`` does."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from viewer.disk import write_whole
from viewer.model import atlas, importance_report, parity_report, profile_report
from viewer.model.file import MAX_NODES
from viewer.model.recording import read_recording
from viewer.outputs import add_output_options, check_outputs, write_outputs
from viewer.serve import headless, netron, offline
from viewer.serve.command import add_page_options, serve
from viewer.serve.sampling import Sampler
from viewer.serve.server import Server
from viewer.serve.shown import Shown
from viewer.targets import HTML, PNG, SVG, Target, guard
from viewer.terminal import Parser, Whole, run, say, working

_EXAMPLES = """\
examples:
  python -m viewer unet.onnx
      opens a browser on the map of the UNet, with Netron beside it
  python -m viewer sd15.onnx my-unet.onnx
      what differs between the two: blocks, operators, shapes, and weights on request
  python -m viewer unet.onnx --html unet.html
      one file to share; it opens anywhere, without a server
  python -m viewer unet.onnx --png u.png --at "?from=timestep&to=out_sample"
      the map as a figure, with the timestep's path lit up
  python -m viewer unet.onnx --graphviz unet.pdf --depth 2
      the U on one page, drawn by Graphviz: every module, every skip, shapes on the arrows

The .onnx may come from anywhere. What our exporter writes into it (docs/FORMAT.md) is shown
in full; of any other file, what it says, and a list of what it does not. Weights are never
loaded. Pages are served to this machine only unless --host says otherwise, and ask no other
host for anything.

exit codes: 0 done; 2 bad usage or input
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = command_line()
    options = parser.parse_args(arguments)
    return run(lambda: _run(parser, options))


def command_line() -> Parser:
    """The arguments of ``python -m viewer``."""
    parser = Parser(
        "python -m viewer",
        "See a UNet: its U, how the time and the text enter, and every operator.",
        _EXAMPLES,
    )
    parser.add_argument("model", type=Path, metavar="unet.onnx", help="what to show")
    parser.add_argument(
        "other", type=Path, nargs="?", metavar="other.onnx", help="a second model to compare"
    )
    parser.add_argument(
        "--report",
        type=Path,
        metavar="FILE",
        help="parity report to tint the map with (default: unet.report.json beside the model)",
    )
    parser.add_argument(
        "--profile",
        type=Path,
        metavar="FILE",
        help="measured times to tint the map with, as python -m exporter.profile --report "
        "writes them (default: unet.profile.json beside the model)",
    )
    parser.add_argument(
        "--importance",
        type=Path,
        metavar="FILE",
        help="what the image loses without each part, to tint the map with, as python -m "
        "exporter.sample --importance writes it",
    )
    parser.add_argument(
        "--recording",
        type=Path,
        metavar="FILE",
        help="what it did while sampling (python -m exporter.sample): a page of its own; "
        "python -m viewer.replay makes files of it",
    )
    parser.add_argument(
        "--max-nodes",
        type=Whole(1),
        default=MAX_NODES,
        metavar="N",
        help="refuse a file with more operators (default: %(default)s)",
    )
    add_page_options(parser)
    parser.add_argument(
        "--pipeline",
        default="",
        metavar="DIR",
        help="what the page samples with: a pipeline's folder with text encoder, VAE and "
        "scheduler (default: the shipped one that the file was made from, if it was)",
    )
    files = parser.add_argument_group("files instead of a page")
    files.add_argument(
        "--html", type=Target((HTML,)), metavar="FILE", help="one self-contained page"
    )
    files.add_argument(
        "--png", type=Target((PNG,)), metavar="FILE", help="a view as PNG (needs Chromium)"
    )
    files.add_argument(
        "--svg", type=Target((SVG,)), metavar="FILE", help="a view as SVG (needs Chromium)"
    )
    files.add_argument(
        "--view",
        choices=("map", "graph", "figure"),
        default="map",
        help="the map, Netron's graph, or a panel's figure (default: %(default)s)",
    )
    files.add_argument(
        "--at",
        default="",
        metavar="PLACE",
        help="where to stand, as in the page's address after #/: down_blocks.1/attentions.0, "
        "or ?tab=time",
    )
    files.add_argument("--dark", action="store_true", help="draw in the dark theme")
    add_output_options(parser)
    return parser


def _run(parser: Parser, options: argparse.Namespace) -> None:
    paths = [path for path in (options.model, options.other) if path is not None]
    found = options.report or parity_report.beside(options.model)
    inputs = [("the model", path) for path in paths]
    timed = options.profile or profile_report.beside(options.model)
    inputs += [("the report", found), ("the profile", timed)]
    inputs += [("the table", options.importance), ("the recording", options.recording)]
    guard(parser, options, inputs)
    check_outputs(options)
    models = tuple(_read(path, options.max_nodes) for path in paths)
    recording = read_recording(options.recording) if options.recording else None
    if recording:
        recording.require_model(models[0].name)
    shown = Shown(
        models,
        parity_report.read(found) if found else {},
        recording,
        profile_report.read(timed) if timed else {},
        importance_report.read(options.importance, _modules(models[0]))
        if options.importance
        else {},
    )
    guard(parser, options, (part for model in shown.models for part in model.file.parts))
    if options.html:
        offline.write(shown, options.html)
        say(f"wrote {options.html}")
    if options.png or options.svg:
        _draw(shown, options)
    written = write_outputs(options, shown.models[0])
    for line in written:
        say(line)
    if not (options.html or options.png or options.svg or written):
        for model in shown.models:
            for sentence in model.missing:
                say(f"{model.file.path.name}: {sentence}")
        paths = [model.file.path for model in shown.models]
        sampler = Sampler(paths, options.pipeline) if Sampler.possible() else None
        names = " and ".join(model.name for model in shown.models)
        serve(shown, options, names, sampler=sampler)


def _modules(model: atlas.Atlas) -> set[str]:
    return {node.module for node in model.tree.nodes}


def _read(path: Path, max_nodes: int) -> atlas.Atlas:
    with working(f"reading {path.name}") as on_stage:
        return atlas.read(path, max_nodes, on_stage)


def _draw(shown: Shown, options: argparse.Namespace) -> None:
    headless.find_browser()
    server = Server(shown, netron.find())
    server.start()
    try:
        wished: tuple[tuple[headless.Format, Path | None], ...] = (
            ("png", options.png),
            ("svg", options.svg),
        )
        for format, target in wished:
            if target is not None:
                content = headless.draw(server, format, options.view, options.at, options.dark)
                write_whole(target, content)
                say(f"wrote {target}")
    finally:
        server.close()
