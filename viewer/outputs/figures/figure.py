"""An ``Atlas`` closed at some depth: boxes, frames around them, arrows between them.

Depth 1 closes every block, 2 every module inside the blocks, and so on down to operators.
Arrows are the values that cross from one box to another, so a figure is true at any depth:
nothing is drawn that the graph does not say. What would hide the rest is summarised: a time
or text vector that many boxes read is a chip on each of them (a bus), and operators that only
compute sizes or rearrange weights are counted, not drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from viewer.model.sizes import Shape
from viewer.model.tree import Flow
from viewer.outputs.roles import LOOKS

OPERATORS = 1_000
"""A depth that no hierarchy reaches: everything is opened."""

BUS = 4
"""A time or text value that this many boxes read becomes a chip on each."""

Column = Literal["top", "left", "mid", "right", ""]
Kind = Literal["input", "output", "call", "op"]


@dataclass(frozen=True)
class Box:
    """Something closed: a block, a module, an operator, an input or an output of the graph.

    Attributes:
        id: Index in ``Figure.boxes``.
        kind: What it is.
        title: Its name within the frame.
        note: Class, weights or shape; may be empty.
        role: What colours it.
        column: Place in the U; empty where there is none.
        level: 0 at full latent resolution; None where there is no image.
        frame: Frame around it; None at the top.
        nodes: Nodes of the tree that it stands for.
        strip: Roles of the pieces inside a block, in order.
        takes: Buses that enter here.
        feeds: Buses that leave here.
        size: Shape of the image that a block works on.
        joins: Whether a skip connection is concatenated inside.
        params: Number of parameters inside.
    """

    id: int
    kind: Kind
    title: str
    note: str = ""
    role: str = ""
    column: Column = ""
    level: int | None = None
    frame: int | None = None
    nodes: tuple[int, ...] = ()
    strip: tuple[str, ...] = ()
    takes: tuple[Flow, ...] = ()
    feeds: tuple[Flow, ...] = ()
    size: Shape | None = None
    joins: bool = False
    params: int = 0


@dataclass(frozen=True)
class Frame:
    """An opened call or module; ``parent`` is the frame around it."""

    id: int
    title: str
    note: str
    role: str
    parent: int | None


@dataclass(frozen=True)
class Arrow:
    """Values of one kind that go from one box to another, with their shapes."""

    source: int
    target: int
    flow: Flow
    shapes: tuple[Shape | None, ...]


@dataclass(frozen=True)
class Bus:
    """A time or text vector that many boxes read."""

    flow: Flow
    name: str
    shape: Shape | None


@dataclass(frozen=True)
class Figure:
    """What is to be drawn, in the order in which data passes it.

    Attributes:
        title: Model or module.
        note: Its class and number of parameters.
        boxes: By id.
        frames: By id; a parent comes before what is in it.
        arrows: Between boxes.
        buses: Drawn as chips.
        hidden: Number of operators that only compute sizes or rearrange weights.
    """

    title: str
    note: str
    boxes: tuple[Box, ...]
    frames: tuple[Frame, ...]
    arrows: tuple[Arrow, ...]
    buses: tuple[Bus, ...]
    hidden: int

    @property
    def is_u(self) -> bool:
        """Whether there is a way down and a way up."""
        return {"left", "right"} <= {box.column for box in self.boxes}


def shape_text(shape: Shape | None) -> str:
    """``B×320×H/2×W/2``; empty when unknown."""
    if shape is None:
        return ""
    return "×".join("?" if dim is None else str(dim) for dim in shape) or "scalar"


def shapes_text(shapes: Sequence[Shape | None]) -> str:
    """Several values' shapes, equal ones counted: ``2 of B×320×H×W``."""
    counts: dict[str, int] = {}
    for shape in shapes:
        text = shape_text(shape)
        counts[text] = counts.get(text, 0) + 1
    known = [(f"{n} × " if n > 1 else "", text) for text, n in counts.items() if text]
    return "\n".join(f"{prefix}({text})" if prefix else text for prefix, text in known)


def label_text(figure: Figure, arrow: Arrow) -> str:
    """What to write on an arrow; an input or an output of the graph says its shape itself."""
    ends = (figure.boxes[arrow.source].kind, figure.boxes[arrow.target].kind)
    return "" if {"input", "output"} & set(ends) else shapes_text(arrow.shapes)


def count_text(count: int) -> str:
    """A number of parameters for people: ``859.5 M``."""
    for unit, size in ((" G", 10**9), (" M", 10**6), (" k", 10**3)):
        if count >= size:
            return f"{count / size:.1f}{unit}"
    return str(count)


def legend_roles(figure: Figure) -> list[str]:
    """Roles that a figure shows, each once, in the order of docs/FORMAT.md."""
    shown = {role for box in figure.boxes for role in (box.role, *box.strip)}
    shown |= {"skip" for arrow in figure.arrows if arrow.flow == "skip"}
    shown |= {frame.role for frame in figure.frames}
    return [
        role for role in LOOKS if role in shown - {"block", "shape", "conv_in", "conv_out"}
    ]


_SYMBOLS = {
    "B": "B: batch.",
    "H": "H, W: latent height and width.",
    "HW": "HW: image tokens.",
    "S": "S: text tokens.",
    "T": "T: timesteps, 1 or B.",
}


def symbols_text(figure: Figure) -> str:
    """What the letters in the figure's shapes stand for."""
    shapes = [shape for arrow in figure.arrows for shape in arrow.shapes if shape]
    shapes += [bus.shape for bus in figure.buses if bus.shape]
    dims = {dim for shape in shapes for dim in shape if isinstance(dim, str)}
    said = [text for symbol, text in _SYMBOLS.items() if symbol in dims]
    if any("/" in dim for dim in dims):
        said.append("Halves are rounded up.")
    return " ".join(said)


def hidden_text(figure: Figure) -> str:
    """How many operators a figure leaves out; empty for none."""
    if not figure.hidden:
        return ""
    many = (
        "operators on sizes or weights are"
        if figure.hidden > 1
        else "operator on sizes or weights is"
    )
    return f"{figure.hidden} {many} not drawn."
