"""Where everything in a U stands, in points: down at the left, mid below, up at the right.

Graphviz ranks nodes well but does not keep two columns of clusters level with one another, so
a figure of closed blocks or modules is placed here and only drawn by Graphviz (``neato -n2``
takes positions and splines as they are). Rows are shared: a skip's two ends stand level
wherever skips do not cross. All lengths are in points, ``y`` upwards, as in DOT.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from viewer.outputs.figure import Arrow, Box, Figure, count_text, label_text, shape_text
from viewer.outputs.ranks import pairs
from viewer.outputs.roles import look

Point = tuple[float, float]

BOX, BLOCK = 16.0, 45.0
"""Heights of a box of one line and of a closed block."""

GAP, BLOCK_GAP, TITLE, PAD = 10.5, 24.0, 12.0, 5.0
"""Between rows; between rows of blocks; a frame's title; around what a frame holds."""

FRAME_GAP = PAD + 10.0 + TITLE
"""From the last box of a frame to the first of the next; a label fits in between."""


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
    """A frame, or the band of one resolution, with the boxes on it."""

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


def place(figure: Figure) -> Layout | None:
    """Places a U of closed blocks or modules.

    Args:
        figure: Any figure.

    Returns:
        The places; None when it is not a U, or opened deeper than one frame.
    """
    if not figure.is_u or any(frame.parent is not None for frame in figure.frames):
        return None
    grid = _Grid(figure)
    grid.columns()
    grid.bottom()
    grid.above()
    lines = {n: _line(grid, arrow) for n, arrow in enumerate(figure.arrows)}
    return Layout(grid.rects, lines, tuple(_areas(figure, grid.rects)))


def text_width(text: str, size: float, bold: bool = False) -> float:
    """About how wide a sans-serif text is; Graphviz widens a box whose text is wider."""
    wide = {"m": 0.85, "w": 0.75, "M": 0.85, "W": 0.95, "…": 1.0, "→": 1.0, "×": 0.6}
    total = 0.0
    for char in text:
        if char in wide:
            total += wide[char]
        elif char in "ijl.,:;'|!ft/()[] ·":
            total += 0.29
        else:
            total += 0.68 if char.isupper() else 0.556
    return total * size * (1.1 if bold else 1.0)


@dataclass
class _Grid:
    figure: Figure
    rects: dict[int, Rect] = field(default_factory=dict)
    left_x: float = 0.0
    right_x: float = 0.0
    low: float = 0.0

    def column(self, name: str) -> list[Box]:
        """From the top down."""
        boxes = [box for box in self.figure.boxes if box.column == name]
        if name == "left":
            return sorted(boxes, key=lambda box: box.kind != "input")
        if name == "right":
            return sorted(boxes, key=lambda box: (box.kind == "output", box.id), reverse=True)
        return boxes

    def columns(self) -> None:
        """The two sides, row by row."""
        left, right = self.column("left"), self.column("right")
        width = {side: max(map(_width, boxes)) for side, boxes in (("l", left), ("r", right))}
        across = [
            max(text_width(line, 7) for line in label_text(self.figure, arrow).split("\n"))
            for arrow in self.figure.arrows
            if arrow.flow == "skip"
        ]
        mid = max((_width(box) for box in self.column("mid")), default=0.0)
        gap = max(max(across, default=0.0) + 46, mid - width["l"] / 2 - width["r"] / 2 + 60)
        if 1 < len(self.column("mid")) <= 3:
            gap = max(gap, 2 * mid + 40 - width["l"] / 2 - width["r"] / 2)
        self.right_x = width["l"] / 2 + gap + width["r"] / 2
        y = 0.0
        above: tuple[Box | None, Box | None] = (None, None)
        for row in _rows(self.figure, left, right):
            height = max(_height(box) for box in row if box)
            y -= self._space(row, above) + height / 2
            for box, x in zip(row, (self.left_x, self.right_x), strict=True):
                if box:
                    side = width["l"] if x == self.left_x else width["r"]
                    wide = _width(box) if box.kind in ("input", "output") else side
                    self.rects[box.id] = Rect(x, y, wide, _height(box))
            y -= height / 2
            above = (row[0] or above[0], row[1] or above[1])
        self.low = y

    def _space(
        self, row: Sequence[Box | None], above: Sequence[Box | None]
    ) -> float:
        """What to leave above a row; more where a frame or a band begins."""
        space = 0.0
        for box, over in zip(row, above, strict=True):
            if box is None or over is None:
                continue
            blocks = bool(box.strip) or bool(over.strip)
            own = BLOCK_GAP if blocks else GAP
            if box.strip and box.level != over.level:
                own += TITLE
            space = max(space, own if box.frame == over.frame else FRAME_GAP)
        return space

    def bottom(self) -> None:
        """Mid: in the middle, or side by side, or one below the other."""
        mid = self.column("mid")
        middle = (self.left_x + self.right_x) / 2
        framed = any(box.frame is not None for box in mid)
        y = self.low - (FRAME_GAP if framed else GAP)
        if 1 < len(mid) <= 3:
            step = (self.right_x - self.left_x) / (len(mid) - 1)
            y -= BOX / 2 + (GAP if framed else 0.0)
            for index, box in enumerate(mid):
                x = self.left_x + index * step
                self.rects[box.id] = Rect(x, y, _width(box), _height(box))
            return
        for box in mid:
            y -= _height(box) / 2
            self.rects[box.id] = Rect(middle, y, _width(box), _height(box))
            y -= _height(box) / 2 + GAP

    def above(self) -> None:
        """Time and text: what is fed at the left, what is made of it to its right."""
        top = self.column("top")
        fed = [box for box in top if box.kind == "input"]
        fed.sort(key=lambda box: box.role == "text")
        made = [box for box in top if box.kind != "input"]
        if not top:
            return
        times = [_width(box) for box in fed if box.role != "text"] or [0.0]
        widest = max(times) + max(map(_width, made), default=0.0) + 30
        edge = min(rect.left for rect in self.rects.values())
        far = max(rect.right for rect in self.rects.values())
        right = [r for r in self.rects.values() if abs(r.x - self.right_x) < 1]
        beside = min(rect.left for rect in right) - 24
        # Left of the other column if there is room, else above it.
        far = beside if edge + widest < beside else max(far, edge + widest)
        under = [rect.top for rect in self.rects.values() if rect.left < far]
        step = BOX + GAP
        y = max(under) + 2 * GAP + BOX / 2 + (max(len(fed), len(made)) - 1) * step
        middle = max(0.0, (len(times) - len(made)) / 2)
        for boxes, left in ((fed, True), (made, False)):
            for index, box in enumerate(boxes):
                width = _width(box)
                x = edge + width / 2 if left else far - width / 2
                down = (index if left else index + middle) * step
                self.rects[box.id] = Rect(x, y - down, width, BOX)


def _height(box: Box) -> float:
    return BLOCK if box.strip else BOX


def _width(box: Box) -> float:
    chips = [*box.takes, *(f"{flow} →" for flow in box.feeds), *(["concat"] * box.joins)]
    aside = sum(text_width(chip, 6.5) + 5 for chip in chips)
    title, note = text_width(box.title, 8, bold=True), text_width(box.note, 7)
    if not box.strip:
        return title + note + aside + 16
    strip = sum(text_width(look(role).short, 6.5) + 8 for role in box.strip)
    head = title + text_width(count_text(box.params), 7) + 12
    return max(strip, head, note + aside + 6, 120) + 16


def _rows(
    figure: Figure, left: Sequence[Box], right: Sequence[Box]
) -> list[tuple[Box | None, Box | None]]:
    """Merges two columns into rows: level pairs share one, the rest fills in between."""
    at_left = {box.id: index for index, box in enumerate(left)}
    at_right = {box.id: index for index, box in enumerate(right)}
    rows: list[tuple[Box | None, Box | None]] = []
    i = j = 0
    stops = [(at_left[a], at_right[b]) for a, b in pairs(figure)]
    for stop_left, stop_right in [*stops, (len(left), len(right))]:
        here, there = list(left[i:stop_left]), list(right[j:stop_right])
        count = max(len(here), len(there))
        # Before the first pair both columns hang from it; later ones follow their own column.
        first = not rows
        rows += zip(_padded(here, count, first), _padded(there, count, first), strict=True)
        if stop_left < len(left) and stop_right < len(right):
            rows.append((left[stop_left], right[stop_right]))
        i, j = stop_left + 1, stop_right + 1
    return rows


def _padded(boxes: list[Box], count: int, before: bool) -> list[Box | None]:
    empty: list[Box | None] = [None] * (count - len(boxes))
    return [*empty, *boxes] if before else [*boxes, *empty]


def _line(grid: _Grid, arrow: Arrow) -> Line:
    figure = grid.figure
    source, target = figure.boxes[arrow.source], figure.boxes[arrow.target]
    a, b = grid.rects[source.id], grid.rects[target.id]
    half = max(text_width(line, 7) for line in label_text(figure, arrow).split("\n")) / 2
    if abs(a.x - b.x) < 1:
        between_areas = source.frame != target.frame or (source.strip and target.strip)
        leaves = PAD if between_areas else 0.0
        return _vertical(grid, a, b, half, leaves)
    if abs(a.y - b.y) < 1:
        return _level(a, b, half)
    if target.column == "mid" and source.column == "left":
        return _corner(a, b, half, down=True)
    if source.column == "mid" and target.column == "right":
        return _corner(b, a, half, down=False)
    return _across(a, b, half)


def _straight(start: Point, end: Point) -> tuple[Point, ...]:
    return (start, *((start[0] + (end[0] - start[0]) * t, start[1] + (end[1] - start[1]) * t)
                     for t in (1 / 3, 2 / 3)), end)  # fmt: skip


def _vertical(grid: _Grid, a: Rect, b: Rect, half: float, leaves: float) -> Line:
    start, end = (a.bottom, b.top) if a.y > b.y else (a.top, b.bottom)
    between = [
        rect
        for rect in grid.rects.values()
        if abs(rect.x - a.x) < 1 and min(a.y, b.y) + 1 < rect.y < max(a.y, b.y) - 1
    ]
    if between:  # around what stands in the way, on the outer side
        outwards = -1 if a.x <= (grid.left_x + grid.right_x) / 2 else 1
        edge = max(rect.width for rect in (a, b, *between)) / 2 + 14
        x = a.x + outwards * edge
        near, far = a.x + outwards * a.width / 2, b.x + outwards * b.width / 2
        return Line(((near, a.y), (x, a.y), (x, b.y), (far, b.y)), (x, (a.y + b.y) / 2))
    y = max(start, end) - leaves - min(5.5, abs(end - start) / 2)
    return Line(_straight((a.x, start), (b.x, end)), (a.x + half + 5, y))


def _level(a: Rect, b: Rect, half: float) -> Line:
    start, end = (a.right, b.left) if a.x < b.x else (a.left, b.right)
    middle = (start + end) / 2
    fits = abs(end - start) > 2 * half + 8
    return Line(_straight((start, a.y), (end, b.y)), (middle, a.y + 5.5 if fits else a.top + 5))


def _corner(column: Rect, mid: Rect, half: float, down: bool) -> Line:
    """The turn between a column's foot and mid, as round as the place allows."""
    side = mid.left if column.x < mid.x else mid.right
    foot, end = (column.x, column.bottom), (side, mid.y)
    inwards = 1 if column.x < mid.x else -1
    if (side - column.x) * inwards < 8:  # mid stands below the column: straight into its top
        points = _straight(foot, (column.x, mid.top))
        label = (column.x + half + 5, (foot[1] + mid.top) / 2)
    else:
        bend = 0.55
        points = (
            foot,
            (foot[0], foot[1] + (end[1] - foot[1]) * bend),
            (end[0] - (end[0] - foot[0]) * bend, end[1]),
            end,
        )
        label = (column.x - inwards * (half - 14), end[1] - 1)
    return Line(points if down else points[::-1], label)


def _across(a: Rect, b: Rect, half: float) -> Line:
    """From side to side between different rows."""
    lift = min(a.height, b.height) * 0.28
    down = -1 if b.y < a.y else 1
    start, end = (a.right, a.y + down * lift), (b.left, b.y - down * lift)
    if a.x > b.x:
        start, end = (a.left, start[1]), (b.right, end[1])
    reach = (end[0] - start[0]) * 0.5
    points = (start, (start[0] + reach, start[1]), (end[0] - reach, end[1]), end)
    aside = half + 4 if start[0] < end[0] else -half - 4
    return Line(points, (start[0] + aside, start[1] - down * 5))


def _areas(figure: Figure, rects: Mapping[int, Rect]) -> list[Area]:
    areas = []
    for frame in figure.frames:
        inside = [box.id for box in figure.boxes if box.frame == frame.id]
        held = [rects[identifier] for identifier in inside]
        areas.append(Area(_around(held), frame.title, tuple(inside), frame.id))
    levels: dict[int, list[Box]] = {}
    for box in figure.boxes:
        if box.strip and box.frame is None and box.level is not None:
            levels.setdefault(box.level, []).append(box)
    blocks = [rects[box.id] for boxes in levels.values() for box in boxes]
    for level, boxes in levels.items():
        held = [rects[box.id] for box in boxes]
        rect = _around(held)
        whole = _around(blocks)
        sizes = (box.size for box in boxes if box.size is not None and len(box.size) > 2)
        title = f"level {level}   {shape_text(next(sizes, ())[2:])}"
        rect = replace(rect, x=whole.x, width=whole.width)
        areas.append(Area(rect, title, tuple(box.id for box in boxes)))
    return areas


def _around(rects: Sequence[Rect]) -> Rect:
    left, right = min(r.left for r in rects) - PAD, max(r.right for r in rects) + PAD
    low, high = min(r.bottom for r in rects) - PAD, max(r.top for r in rects) + TITLE
    return Rect((left + right) / 2, (low + high) / 2, right - left, high - low)
