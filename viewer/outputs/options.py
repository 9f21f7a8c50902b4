"""The command line's flags for files that other programs read, and what they do."""

from __future__ import annotations

import argparse
from pathlib import Path

from viewer.errors import TargetError
from viewer.model.atlas import Atlas
from viewer.numbers import count
from viewer.outputs import autograd, graphviz, model_explorer, tensorboard
from viewer.outputs.figures.figure import OPERATORS
from viewer.targets import DOT, EVENTS, GRAPHS, PDF, PNG, RUN, SVG, Target

_DEPTHS = {"block": 1, "module": 2, "operator": OPERATORS}


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """Adds ``--graphviz`` and its companions, ``--tensorboard`` and ``--model-explorer``."""
    group = parser.add_argument_group("files for other programs")
    group.add_argument(
        "--graphviz",
        type=Target((SVG, PDF, PNG, DOT), spare=".dot"),
        metavar="FILE",
        help="a figure for a paper as .svg, .pdf or .png (needs Graphviz), or .dot",
    )
    group.add_argument(
        "--depth",
        type=_depth,
        default=1,
        metavar="N",
        help="of --graphviz: 1 or block, 2 or module, 3 ..., operator (default: %(default)s)",
    )
    group.add_argument(
        "--module",
        default="",
        metavar="PATH",
        help="of --graphviz: one module alone, e.g. mid_block.attentions.0",
    )
    group.add_argument(
        "--autograd",
        action="store_true",
        help="with --graphviz and --module: the module's backward graph, as torchviz draws it",
    )
    group.add_argument(
        "--tensorboard",
        type=Target((EVENTS,), f"*/{RUN}"),
        metavar="FOLDER",
        help="an event file for TensorBoard's Graphs tab, roles as device colours",
    )
    group.add_argument(
        "--model-explorer",
        type=Target((GRAPHS,)),
        metavar="FILE",
        help="a graph collection for Model Explorer as .json, skips as edge overlays",
    )


def write_outputs(arguments: argparse.Namespace, atlas: Atlas) -> list[str]:
    """Writes what was asked for.

    Args:
        arguments: Parsed flags of ``add_output_options``.
        atlas: The model.

    Returns:
        One line for each file written, then what the model does not say; empty when no file
        was asked for.

    Raises:
        TargetError: A file that cannot be written.
        ModelError: ``--autograd`` for a model without a config.
    """
    written: list[Path] = []
    if arguments.graphviz and arguments.autograd:
        written.append(autograd.write(atlas, arguments.graphviz, arguments.module))
    elif arguments.graphviz:
        figure = (arguments.graphviz, arguments.depth, arguments.module)
        written.append(graphviz.write(atlas, *figure))
    if arguments.tensorboard:
        written.append(tensorboard.write(atlas, arguments.tensorboard))
    if arguments.model_explorer:
        written.append(model_explorer.write(atlas, arguments.model_explorer))
    said = [f"{atlas.file.path.name}: {sentence}" for sentence in atlas.missing]
    return [f"wrote {path} ({_size(path)})" for path in written] + (said if written else [])


def check_outputs(arguments: argparse.Namespace) -> None:
    """Refuses what does not go together, before anything is read or written.

    Raises:
        TargetError: Flags that need one another, or a figure of no known format.
    """
    if arguments.graphviz:
        graphviz.check_format(arguments.graphviz)
    asked = arguments.graphviz or arguments.tensorboard or arguments.model_explorer
    if getattr(arguments, "other", None) and asked:
        raise TargetError("two models for one file", "one model", "name it alone")
    if arguments.autograd and not (arguments.graphviz and arguments.module):
        raise TargetError(
            "--autograd alone",
            "--graphviz FILE and --module PATH with it",
            "name the module whose backward graph you want, e.g. mid_block.resnets.0",
        )
    if arguments.module and not arguments.graphviz:
        raise TargetError("--module alone", "--graphviz FILE with it")


def _depth(text: str) -> int:
    if text in _DEPTHS:
        return _DEPTHS[text]
    depth = count(text)
    if not depth:
        raise argparse.ArgumentTypeError(f"{text!r} is no depth; say 1, 2, ... or operator")
    return depth


def _size(path: Path) -> str:
    count = path.stat().st_size
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{max(1, count // 1000)} kB"
