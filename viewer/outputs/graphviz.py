"""A figure for a paper, drawn by Graphviz: SVG, PDF, PNG, or the DOT source itself."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from viewer.disk import write_whole
from viewer.errors import TargetError
from viewer.model.atlas import Atlas
from viewer.outputs.figures.dot import how_to_draw, to_dot
from viewer.outputs.figures.drawing import draw

FORMATS = (".svg", ".pdf", ".png", ".dot", ".gv")
INSTALL = (
    "install Graphviz (apt install graphviz, brew install graphviz, "
    "winget install graphviz) and run this again"
)
PATIENCE = 300.0
"""Seconds that Graphviz may take."""

_DPI = 200


def write(atlas: Atlas, path: Path, depth: int = 1, module: str = "") -> Path:
    """Draws a model, or one module of it.

    Args:
        atlas: A read model.
        path: Where to; the suffix says the format.
        depth: 1 for blocks, 2 for modules, ...; ``figure.OPERATORS`` for all.
        module: Draw the inside of this module alone.

    Returns:
        ``path``.

    Raises:
        TargetError: No such format or module, Graphviz is not installed (the .dot is then
            written instead), or the file cannot be written.
    """
    check_format(path)
    return render(to_dot(draw(atlas, depth, module)), path)


def check_format(path: Path) -> None:
    """Raises a TargetError when the suffix is none of ``FORMATS``."""
    if path.suffix.lower() not in FORMATS:
        raise TargetError(f"{path} has no format of a figure", f"one of {', '.join(FORMATS)}")


def render(source: str, path: Path) -> Path:
    """Has a DOT source drawn.

    Args:
        source: A digraph; its first line may name a program (``how_to_draw``).
        path: Where to; the suffix says the format.

    Raises:
        TargetError: Graphviz is missing, fails or takes too long. The source is then written
            beside ``path`` with the suffix .dot.
    """
    format = path.suffix.lower().lstrip(".")
    if format in ("dot", "gv"):
        write_whole(path, source.encode())
        return path
    program, *options = how_to_draw(source)
    found = shutil.which(program)
    if found is None:
        raise _undrawn(f"Graphviz's {program} was not found", source, path, INSTALL)
    command = [found, *options, f"-T{format}"]
    if format == "png":
        command.append(f"-Gdpi={_DPI}")
    try:
        done = subprocess.run(
            command, input=source.encode(), capture_output=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired as error:
        do = "choose a smaller --depth or a --module"
        raise _undrawn(f"{program} took over {PATIENCE:.0f} s", source, path, do) from error
    if done.returncode != 0 or not done.stdout:
        said = done.stderr.decode(errors="replace").strip().split("\n")[0] or "no reason given"
        raise _undrawn(f"{program} failed ({said})", source, path, "")
    write_whole(path, done.stdout)
    return path


def _undrawn(got: str, source: str, path: Path, do: str) -> TargetError:
    """Keeps the source, and says so."""
    kept = path.with_suffix(".dot")
    write_whole(kept, source.encode())
    return TargetError(f"{got}, so {path.name} was not drawn; wrote {kept}", "", do)
