"""The way of one arrow through a U, as a Bezier curve, and where its label goes."""

from __future__ import annotations

import math
from collections.abc import Mapping

from viewer.outputs.figures.figure import Arrow, Figure, label_text
from viewer.outputs.figures.geometry import PAD, Line, Point, Rect, label_width

_BEND = 0.55
"""Of a quarter turn: where a Bezier curve comes closest to a circle."""


def line(figure: Figure, rects: Mapping[int, Rect], arrow: Arrow) -> Line:
    """Leads an arrow from its source to its target.

    Args:
        figure: A figure that is a U.
        rects: Places of its boxes by id.
        arrow: One of its arrows.
    """
    source, target = figure.boxes[arrow.source], figure.boxes[arrow.target]
    a, b = rects[source.id], rects[target.id]
    half = label_width(label_text(figure, arrow)) / 2
    if abs(a.x - b.x) < 1:
        apart = source.frame != target.frame or (source.strip and target.strip)
        return _vertical(rects, a, b, half, PAD if apart else 0.0)
    if abs(a.y - b.y) < 1:
        return _level(a, b, half)
    if target.column == "mid" and source.column == "left":
        return _turn(a, b, half)
    if source.column == "mid" and target.column == "right":
        turn = _turn(b, a, half)
        return Line(turn.points[::-1], turn.label)
    return _across(a, b, half)


def _straight(start: Point, end: Point) -> tuple[Point, ...]:
    (x, y), (dx, dy) = start, (end[0] - start[0], end[1] - start[1])
    return (start, (x + dx / 3, y + dy / 3), (x + dx * 2 / 3, y + dy * 2 / 3), end)


def _vertical(rects: Mapping[int, Rect], a: Rect, b: Rect, half: float, leaves: float) -> Line:
    """Along a column; the label stands ``leaves`` below a frame's edge, right of the line."""
    low, high = sorted((a.y, b.y))
    between = [r for r in rects.values() if abs(r.x - a.x) < 1 and low < r.y < high]
    if between:
        return _around(rects, a, b, max(rect.width for rect in (a, b, *between)) / 2)
    start, end = (a.bottom, b.top) if a.y > b.y else (a.top, b.bottom)
    y = max(start, end) - leaves - min(5.5, abs(end - start) / 2)
    return Line(_straight((a.x, start), (b.x, end)), (a.x + half + 5, y))


def _around(rects: Mapping[int, Rect], a: Rect, b: Rect, reach: float) -> Line:
    """Past the boxes in between, on the column's outer side."""
    centre = (min(r.x for r in rects.values()) + max(r.x for r in rects.values())) / 2
    side = -1 if a.x <= centre else 1
    x = a.x + side * (reach + 14)
    start, end = (a.x + side * a.width / 2, a.y), (b.x + side * b.width / 2, b.y)
    return Line((start, (x, a.y), (x, b.y), end), (x, (a.y + b.y) / 2))


def _level(a: Rect, b: Rect, half: float) -> Line:
    """Within a row; the label stands above the line, or above the boxes if it is short."""
    start, end = (a.right, b.left) if a.x < b.x else (a.left, b.right)
    fits = abs(end - start) > 2 * half + 8
    label = ((start + end) / 2, a.y + 5.5 if fits else max(a.top, b.top) + 5)
    return Line(_straight((start, a.y), (end, b.y)), label)


def _turn(column: Rect, mid: Rect, half: float) -> Line:
    """From a column's foot to mid: a quarter turn, or straight down when mid is below."""
    foot, inwards = (column.x, column.bottom), math.copysign(1, mid.x - column.x)
    end = (mid.left if inwards > 0 else mid.right, mid.y)
    if (end[0] - column.x) * inwards < 8:
        label = (column.x + half + 5, (foot[1] + mid.top) / 2)
        return Line(_straight(foot, (column.x, mid.top)), label)
    down, aside = (end[1] - foot[1]) * _BEND, (end[0] - foot[0]) * _BEND
    points = (foot, (foot[0], foot[1] + down), (end[0] - aside, end[1]), end)
    return Line(points, (column.x - inwards * (half - 14), end[1] - 1))


def _across(a: Rect, b: Rect, half: float) -> Line:
    """From side to side between different rows, clear of the level arrow in the middle."""
    lift = min(a.height, b.height) * 0.28 * math.copysign(1, b.y - a.y)
    onwards = math.copysign(1, b.x - a.x)
    start = (a.x + onwards * a.width / 2, a.y + lift)
    end = (b.x - onwards * b.width / 2, b.y - lift)
    middle = (start[0] + end[0]) / 2
    points = (start, (middle, start[1]), (middle, end[1]), end)
    above = 5 if lift < 0 else -5
    return Line(points, (start[0] + onwards * (half + 4), start[1] + above))
