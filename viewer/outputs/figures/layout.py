"""Where everything in a U stands.

Graphviz ranks nodes well but does not keep two columns of clusters level with one another, so
a figure of closed blocks or modules is placed here and only drawn by Graphviz (``neato -n2``
takes positions and splines as they are). Rows are shared: a skip's two ends stand level
wherever skips do not cross.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from viewer.outputs.figures.figure import Box, Figure, shape_text
from viewer.outputs.figures.geometry import PAD, TITLE, Area, Layout, Rect
from viewer.outputs.figures.grid import Grid
from viewer.outputs.figures.lines import line


def place(figure: Figure) -> Layout | None:
    """Places a U of closed blocks or modules.

    Args:
        figure: Any figure.

    Returns:
        The places; None when it is not a U, or opened deeper than one frame.
    """
    if not figure.is_u or any(frame.parent is not None for frame in figure.frames):
        return None
    rects = Grid(figure).fill()
    lines = {n: line(figure, rects, arrow) for n, arrow in enumerate(figure.arrows)}
    return Layout(rects, lines, (*_frames(figure, rects), *_bands(figure, rects)))


def _frames(figure: Figure, rects: Mapping[int, Rect]) -> list[Area]:
    areas = []
    for frame in figure.frames:
        inside = tuple(box.id for box in figure.boxes if box.frame == frame.id)
        if inside:
            rect = _around([rects[identifier] for identifier in inside])
            areas.append(Area(rect, frame.title, inside, frame.id))
    return areas


def _bands(figure: Figure, rects: Mapping[int, Rect]) -> list[Area]:
    """Closed blocks of one resolution stand on one band, all bands equally wide."""
    levels: dict[int, list[Box]] = {}
    for box in figure.boxes:
        if box.strip and box.frame is None and box.level is not None:
            levels.setdefault(box.level, []).append(box)
    areas = []
    for level, boxes in levels.items():
        sizes = (box.size for box in boxes if box.size is not None and len(box.size) > 2)
        title = f"level {level}   {shape_text(next(sizes, ())[2:])}"
        rect = _around([rects[box.id] for box in boxes])
        areas.append(Area(rect, title, tuple(box.id for box in boxes)))
    if not areas:
        return []
    left, right = min(a.rect.left for a in areas), max(a.rect.right for a in areas)
    wide = ((left + right) / 2, right - left)
    return [replace(a, rect=replace(a.rect, x=wide[0], width=wide[1])) for a in areas]


def _around(rects: Sequence[Rect]) -> Rect:
    left, right = min(r.left for r in rects) - PAD, max(r.right for r in rects) + PAD
    low, high = min(r.bottom for r in rects) - PAD, max(r.top for r in rects) + TITLE
    return Rect((left + right) / 2, (low + high) / 2, right - left, high - low)
