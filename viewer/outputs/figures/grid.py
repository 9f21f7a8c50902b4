"""Boxes of a U in columns and rows: down at the left, mid below, up at the right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from viewer.outputs.figures.figure import Box, Figure, label_text
from viewer.outputs.figures.geometry import (
    BOX,
    PAD,
    TITLE,
    Rect,
    box_height,
    box_width,
    label_width,
)
from viewer.outputs.figures.ranks import pairs

GAP, BLOCK_GAP = 10.5, 24.0
"""Between rows; between rows of blocks."""

FRAME_GAP = PAD + 10.0 + TITLE
"""From the last box of a frame to the first of the next; a label fits in between."""

Row = tuple[Box | None, Box | None]


@dataclass
class Grid:
    """Places found so far.

    Attributes:
        figure: A figure that is a U.
        rects: Places by id of box.
        right_x: Centre of the column at the right; that at the left has 0.
    """

    figure: Figure
    rects: dict[int, Rect] = field(default_factory=dict)
    right_x: float = 0.0

    def column(self, name: str) -> list[Box]:
        """Boxes of a column, from the top down."""
        boxes = [box for box in self.figure.boxes if box.column == name]
        if name == "right":
            return sorted(boxes, key=lambda b: (b.kind == "output", b.id), reverse=True)
        return sorted(boxes, key=lambda b: b.kind != "input")

    def fill(self) -> dict[int, Rect]:
        """Places every box."""
        left, right = self.column("left"), self.column("right")
        widths = (max(map(box_width, left)), max(map(box_width, right)))
        self.right_x = sum(widths) / 2 + self._gap(widths)
        low = self._columns(left, right, widths)
        self._bottom(low)
        self._above()
        return self.rects

    def _gap(self, widths: tuple[float, float]) -> float:
        """Between the columns: room for the skips' labels, and for mid below."""
        skips = (arrow for arrow in self.figure.arrows if arrow.flow == "skip")
        labels = [label_width(label_text(self.figure, arrow)) for arrow in skips]
        mid = [box_width(box) for box in self.column("mid")] or [0.0]
        below = 2 * max(mid) + 40 if 1 < len(mid) <= 3 else max(mid) + 60
        return max(max(labels, default=0.0) + 46, below - sum(widths) / 2)

    def _columns(
        self, left: Sequence[Box], right: Sequence[Box], widths: tuple[float, float]
    ) -> float:
        """Places both sides row by row; returns where they end."""
        y = 0.0
        above: Row = (None, None)
        for row in _rows(self.figure, left, right):
            height = max(box_height(box) for box in row if box)
            y -= _space(row, above) + height / 2
            for box, x, width in zip(row, (0.0, self.right_x), widths, strict=True):
                if box:
                    port = box.kind in ("input", "output")
                    own = box_width(box) if port else width
                    self.rects[box.id] = Rect(x, y, own, box_height(box))
            y -= height / 2
            above = (row[0] or above[0], row[1] or above[1])
        return y

    def _bottom(self, low: float) -> None:
        """Mid: up to three side by side under the columns, else one below the other."""
        mid = self.column("mid")
        framed = any(box.frame is not None for box in mid)
        y = low - (FRAME_GAP if framed else GAP)
        if 1 < len(mid) <= 3:
            y -= BOX / 2 + (GAP if framed else 0.0)
            step = self.right_x / (len(mid) - 1)
            for index, box in enumerate(mid):
                self.rects[box.id] = Rect(index * step, y, box_width(box), box_height(box))
            return
        for box in mid:
            height = box_height(box)
            self.rects[box.id] = Rect(self.right_x / 2, y - height / 2, box_width(box), height)
            y -= height + GAP

    def _above(self) -> None:
        """Time and text: what is fed at the left, what is made of it to its right."""
        top = self.column("top")
        fed = sorted((b for b in top if b.kind == "input"), key=lambda b: b.role == "text")
        made = [box for box in top if box.kind != "input"]
        if not top:
            return
        times = [box_width(box) for box in fed if box.role != "text"] or [0.0]
        widest = max(times) + max(map(box_width, made), default=0.0) + 30
        edge = min(rect.left for rect in self.rects.values())
        far = max(rect.right for rect in self.rects.values())
        right = [r for r in self.rects.values() if abs(r.x - self.right_x) < 1]
        beside = min(rect.left for rect in right) - 24
        # Left of the other column if there is room, else above it.
        far = beside if edge + widest < beside else max(far, edge + widest)
        under = max(rect.top for rect in self.rects.values() if rect.left < far)
        step = BOX + GAP
        y = under + 2 * GAP + BOX / 2 + (max(len(fed), len(made)) - 1) * step
        middle = max(0.0, (len(times) - len(made)) / 2)
        for index, box in enumerate(fed):
            width = box_width(box)
            self.rects[box.id] = Rect(edge + width / 2, y - index * step, width, BOX)
        for index, box in enumerate(made):
            width = box_width(box)
            down = (index + middle) * step
            self.rects[box.id] = Rect(far - width / 2, y - down, width, BOX)


def _space(row: Row, above: Row) -> float:
    """What to leave above a row; more where a frame or a band begins."""
    space = 0.0
    for box, over in zip(row, above, strict=True):
        if box is None or over is None:
            continue
        own = BLOCK_GAP if box.strip or over.strip else GAP
        if box.strip and box.level != over.level:
            own += TITLE
        space = max(space, own if box.frame == over.frame else FRAME_GAP)
    return space


def _rows(figure: Figure, left: Sequence[Box], right: Sequence[Box]) -> list[Row]:
    """Merges two columns into rows: level pairs share one, the rest fills in between."""
    at_left = {box.id: index for index, box in enumerate(left)}
    at_right = {box.id: index for index, box in enumerate(right)}
    stops = [(at_left[a], at_right[b]) for a, b in pairs(figure)]
    rows: list[Row] = []
    i = j = 0
    for stop_left, stop_right in [*stops, (len(left), len(right))]:
        here, there = list(left[i:stop_left]), list(right[j:stop_right])
        count = max(len(here), len(there))
        # Above the first pair both columns end there; later each follows its own boxes.
        first = not rows
        rows += zip(_padded(here, count, first), _padded(there, count, first), strict=True)
        if stop_left < len(left) and stop_right < len(right):
            rows.append((left[stop_left], right[stop_right]))
        i, j = stop_left + 1, stop_right + 1
    return rows


def _padded(boxes: list[Box], count: int, before: bool) -> list[Box | None]:
    empty: list[Box | None] = [None] * (count - len(boxes))
    return [*empty, *boxes] if before else [*boxes, *empty]
