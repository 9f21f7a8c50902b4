"""Shapes on paper, in points with ``y`` upwards as in DOT, and how big things are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from viewer.outputs.figures.figure import Box, count_text
from viewer.outputs.roles import look

Point = tuple[float, float]

BOX, BLOCK = 16.0, 45.0
"""Heights of a box of one line and of a closed block."""

TITLE, PAD = 12.0, 5.0
"""Height of a frame's title; room around what a frame holds."""


@dataclass(frozen=True)
class Rect:
    """A box's place; ``x`` and ``y`` are its centre."""

    x: float
    y: float
    width: float
    height: float

    @property
    def left(self) -> float:
        """Smallest ``x``."""
        return self.x - self.width / 2

    @property
    def right(self) -> float:
        """Largest ``x``."""
        return self.x + self.width / 2

    @property
    def top(self) -> float:
        """Largest ``y``."""
        return self.y + self.height / 2

    @property
    def bottom(self) -> float:
        """Smallest ``y``."""
        return self.y - self.height / 2


@dataclass(frozen=True)
class Line:
    """An arrow's Bezier control points (1 + 3n of them) and the centre of its label."""

    points: tuple[Point, ...]
    label: Point


@dataclass(frozen=True)
class Area:
    """A frame (by its id), or the band of one resolution, with the boxes on it."""

    rect: Rect
    title: str
    boxes: tuple[int, ...]
    frame: int | None = None


@dataclass(frozen=True)
class Layout:
    """Places by id of box and by index of arrow."""

    boxes: Mapping[int, Rect]
    lines: Mapping[int, Line]
    areas: tuple[Area, ...]


_WIDTHS = {"m": 0.85, "w": 0.75, "M": 0.85, "W": 0.95, "…": 1.0, "→": 1.0, "×": 0.6}


def text_width(text: str, size: float, bold: bool = False) -> float:
    """About how wide a sans-serif text is; Graphviz widens a box whose text is wider."""
    total = 0.0
    for char in text:
        narrow = 0.29 if char in "ijl.,:;'|!ft/()[] ·" else 0.556
        total += _WIDTHS.get(char, 0.68 if char.isupper() else narrow)
    return total * size * (1.1 if bold else 1.0)


def label_width(text: str) -> float:
    """Width of an arrow's label, which may have several lines."""
    return max(text_width(line, 7) for line in text.split("\n"))


def box_height(box: Box) -> float:
    """Height of a box."""
    return BLOCK if box.strip else BOX


def box_width(box: Box) -> float:
    """Least width of a box, from what is written in it."""
    chips = [*box.takes, *(f"{flow} →" for flow in box.feeds), *(["concat"] * box.joins)]
    aside = sum(text_width(chip, 6.5) + 5 for chip in chips)
    title, note = text_width(box.title, 8, bold=True), text_width(box.note, 7)
    if not box.strip:
        framed = 0.0 if box.frame is None else 104.0  # a line must clear the frame's title
        return max(title + note + aside + 16, framed)
    strip = sum(text_width(look(role).short, 6.5) + 8 for role in box.strip)
    head = title + text_width(count_text(box.params), 7) + 12
    return max(strip, head, note + aside + 6, 120) + 16
