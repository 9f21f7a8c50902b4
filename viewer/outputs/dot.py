"""A ``Figure`` in the DOT language: a U with down at the left, mid below, up at the right.

``dot`` ranks nodes along the arrows, so arrows on the way up are written backwards
(``dir=back``) and their boxes climb. Skips have no say in the ranks, but each pair of ends that
can stand at one height is put on one rank (``newrank`` lets frames share ranks).
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from viewer.outputs.figure import (
    Arrow,
    Box,
    Figure,
    Frame,
    count_text,
    legend_roles,
    shape_text,
    shapes_text,
    symbols_text,
)
from viewer.outputs.ranks import pairs
from viewer.outputs.roles import look, tint

INK, MUTED, LINE = "#1b2430", "#566272", "#9aa5b1"
FONT = "Helvetica,Arial,sans-serif"
FLOW_COLOURS = {
    "image": "#52606d",
    "skip": look("skip").colour,
    "time": look("time_embedding").colour,
    "text": look("text").colour,
    "shape": LINE,
}
_LONGEST = 44


def to_dot(figure: Figure) -> str:
    """The figure as DOT source; every name of the model in it is escaped.

    Args:
        figure: What to draw.
    """
    lines = ["digraph unet {", *_defaults(figure)]
    inside: dict[int | None, list[Box]] = {}
    for box in figure.boxes:
        inside.setdefault(box.frame, []).append(box)
    lines += _frames(figure, None, inside)
    lines += (f"  {_node(box, figure)}" for box in inside.get(None, ()))
    lines += _bands(figure)
    if figure.is_u:
        lines += _u(figure)
    lines += _edges(figure)
    return "\n".join([*lines, "}", ""])


def safe(text: str, longest: int = _LONGEST) -> str:
    """A name as HTML-like label text: shortened, control characters dropped, escaped."""
    plain = "".join(c if c.isprintable() else " " for c in text)
    if len(plain) > longest:
        plain = f"{plain[: longest - 1]}…"
    return html.escape(plain)


def _defaults(figure: Figure) -> list[str]:
    splines = "true" if figure.is_u else "spline"
    return [
        f"  graph [rankdir=TB, newrank=true, splines={splines}, nodesep=0.2, ranksep={0.16 if figure.frames else 0.3}, "
        f'pad=0.1, fontname="{FONT}", fontsize=8, fontcolor="{INK}", labelloc=b, '
        f"label={_caption(figure)}];",
        f'  node [shape=box, style="rounded,filled", fillcolor=white, color="{LINE}", '
        f'fontname="{FONT}", fontsize=8, fontcolor="{INK}", margin="0.05,0.01", '
        "height=0.2, width=0.5, penwidth=0.8];",
        f'  edge [fontname="{FONT}", fontsize=7, color="{FLOW_COLOURS["image"]}", '
        f'fontcolor="{MUTED}", arrowsize=0.5, penwidth=0.9];',
    ]


def _table(rows: Iterable[str], options: str = "") -> str:
    body = "".join(f"<TR>{row}</TR>" for row in rows)
    return f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="1" CELLPADDING="0" {options}>{body}</TABLE>'


def _cell(text: str, options: str = "") -> str:
    return f"<TD {options}>{text}</TD>"


def _small(text: str, colour: str = MUTED, size: float = 7) -> str:
    return f'<FONT POINT-SIZE="{size}" COLOR="{colour}">{text}</FONT>' if text else ""


def _pill(text: str, colour: str) -> str:
    """A coloured cell with white text."""
    inner = _small(html.escape(text), "#ffffff", 6.5)
    return _cell(inner, f'BGCOLOR="{colour}" CELLPADDING="1"')


def _node(box: Box, figure: Figure) -> str:
    colour = look(box.role).colour
    options = {"label": _label(box)}
    if box.role not in ("", "block"):
        options["color"] = f'"{colour}"'
        options["fillcolor"] = f'"{tint(colour, 0.1)}"'
    if box.column in ("left", "right"):
        options["group"] = box.column
    if box.strip:
        options["width"] = "2.15"
    if box.kind in ("input", "output"):
        options["style"] = '"filled"'
        options["fillcolor"] = '"#ffffff"' if box.role else '"#f3f5f8"'
    return f"n{box.id} [{', '.join(f'{k}={v}' for k, v in options.items())}];"


def _label(box: Box) -> str:
    title = f"<B>{safe(box.title)}</B>"
    chips = [_pill(f"{flow}", FLOW_COLOURS[flow]) for flow in box.takes]
    chips += [_pill("concat", FLOW_COLOURS["skip"])] if box.joins else []
    chips += [_pill(f"{flow} →", FLOW_COLOURS[flow]) for flow in box.feeds]
    if box.strip:
        return f"<{_block(box, title, chips)}>"
    note = _small(safe(box.note)) if box.note else ""
    cells = [_cell(title), _cell(note) if note else "", *chips]
    return f"<{_table([''.join(cells)])}>"


def _block(box: Box, title: str, chips: Sequence[str]) -> str:
    """A closed block: its name and size, its class, its pieces in order."""
    params = _small(count_text(box.params) if box.params else "")
    strip = _table(["".join(_pill(look(r).short, look(r).colour) for r in box.strip)])
    head = _table([_cell(title, 'ALIGN="LEFT"') + _cell(params, 'ALIGN="RIGHT"')])
    foot = _table(["".join([_cell(_small(safe(box.note))), *chips])])
    return _table([_cell(head), _cell(foot), _cell(strip)])


def _frames(
    figure: Figure, parent: int | None, inside: dict[int | None, list[Box]]
) -> Iterator[str]:
    for frame in figure.frames:
        if frame.parent == parent:
            yield f"  subgraph cluster_{frame.id} {{ {_frame_style(frame, figure)}"
            yield from _frames(figure, frame.id, inside)
            yield from (f"  {_node(box, figure)}" for box in inside.get(frame.id, ()))
            yield "  }"


def _bands(figure: Figure) -> Iterator[str]:
    """Closed blocks of one resolution stand on one band."""
    levels: dict[int, list[Box]] = {}
    for box in figure.boxes:
        if box.strip and box.frame is None and box.level is not None:
            levels.setdefault(box.level, []).append(box)
    for level, boxes in levels.items():
        sizes = (box.size for box in boxes if box.size is not None and len(box.size) > 2)
        size = shape_text(next(sizes, ())[2:])
        members = " ".join(f"n{box.id};" for box in boxes) + _labels_between(figure, boxes)
        label = _small(safe(f"level {level}   {size}"))
        yield (
            f"  subgraph cluster_level_{level} {{ label=<{label}>; labeljust=l; labelloc=t; "
            f'style="rounded,filled"; margin=7; color="#eef1f5"; {members} }}'
        )


def _labels_between(figure: Figure, boxes: Sequence[Box]) -> str:
    """A label in a level line must belong to the band that it lies on."""
    ids = {box.id for box in boxes}
    level = {pair for pair in pairs(figure) if ids.issuperset(pair)}
    return "".join(
        f" l{number};"
        for number, arrow in enumerate(figure.arrows)
        if (arrow.source, arrow.target) in level
    )


def _frame_style(frame: Frame, figure: Figure) -> str:
    colour = look(frame.role).colour
    title = f"<B>{safe(frame.title)}</B>"
    if not figure.is_u:
        title += f"  {_small(safe(frame.note))}"
    return (
        f'label=<{title}>; labeljust=l; labelloc=t; style="rounded,filled"; margin=4; '
        f'fillcolor="{tint(colour, 0.05)}"; color="{tint(colour, 0.35)}"; penwidth=0.8;'
    )


def _edges(figure: Figure) -> Iterator[str]:
    level = {frozenset(pair) for row in _level_rows(figure) for pair in pairwise(row)}
    for number, arrow in enumerate(figure.arrows):
        source, target = figure.boxes[arrow.source], figure.boxes[arrow.target]
        options = {"color": f'"{FLOW_COLOURS[arrow.flow]}"'}
        if arrow.flow != "image":
            options["fontcolor"] = options["color"]
        text = shapes_text(arrow.shapes)
        if not figure.is_u:
            labelled = {"label": _lines(text)} if text else {}
            yield _written(source.id, target.id, options | labelled)
        elif frozenset((source.id, target.id)) in level:
            yield from _level_edge(number, arrow, text, options)
        else:
            yield _climbing(source, target, text, options)


def _level_edge(
    number: int, arrow: Arrow, text: str, options: dict[str, str]
) -> Iterator[str]:
    """An arrow that runs level; its label is a node in the line, so that it gets its room."""
    middle = f"l{number}"
    yield f"  {middle} [shape=plain, style=\"\", label={_lines(text)}, {_joined(_font(options))}];"
    yield f"  n{arrow.source} -> {middle} [{_joined(options)}, arrowhead=none, weight=4];"
    yield f"  {middle} -> n{arrow.target} [{_joined(options)}, weight=4];"


def _climbing(source: Box, target: Box, text: str, options: dict[str, str]) -> str:
    """An arrow from rank to rank; on the way up it is written backwards."""
    backwards = target.column == "right" and source.column in ("right", "mid")
    across = source.column == "left" and target.column == "right"
    if across or "top" in (source.column, target.column):
        options |= {"constraint": "false", "xlabel": _lines(text)}
    else:
        options |= {"weight": "20", **_beside(text)}
    if backwards:
        options["dir"] = "back"
        source, target = target, source
    return _written(source.id, target.id, options)


def _beside(text: str) -> dict[str, str]:
    """Right of a vertical line, a little below its upper end, clear of frames' titles."""
    if not text:
        return {}
    away, below = max(map(len, text.split("\n"))) * 1.9 + 5, 7.0
    return {
        "taillabel": _lines(text),
        "labeldistance": f"{math.hypot(away, below) / 10:.2f}",
        "labelangle": f"{math.degrees(math.atan2(away, below)):.1f}",
    }


def _font(options: dict[str, str]) -> dict[str, str]:
    return {"fontsize": "7", "fontcolor": options.get("fontcolor", f'"{MUTED}"')}


def _lines(text: str) -> str:
    return "<" + "<BR/>".join(f"&#160;{safe(line, 60)}&#160;" for line in text.split("\n")) + ">"


def _joined(options: dict[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in options.items())


def _written(source: int, target: int, options: dict[str, str]) -> str:
    return f"  n{source} -> n{target} [{_joined(options)}];"


def _level_rows(figure: Figure) -> list[list[int]]:
    """Boxes that stand side by side, from left to right."""
    top = [box for box in figure.boxes if box.column == "top"]
    top.sort(key=lambda box: (box.role == "text", box.kind != "input"))
    mid = [box.id for box in figure.boxes if box.column == "mid"]
    rows = [list(pair) for pair in pairs(figure)]
    rows += [mid] if 1 < len(mid) <= 4 else []
    return [*rows, [box.id for box in top]] if top else rows


def _u(figure: Figure) -> Iterator[str]:
    """Who stands beside whom, and what stands above the U."""
    for row in _level_rows(figure):
        members = " ".join(f"n{identifier};" for identifier in row)
        pairs_here = set(pairwise(row))
        members += "".join(
            f" l{number};"
            for number, arrow in enumerate(figure.arrows)
            if (arrow.source, arrow.target) in pairs_here
        )
        yield f"  {{ rank=same; {members} }}"
        if len(row) > 1:
            yield f"  {' -> '.join(f'n{identifier}' for identifier in row)} [style=invis];"
    top = [box for box in figure.boxes if box.column == "top"]
    if top:
        row = _level_rows(figure)[-1]
        for end, column in ((row[0], "left"), (row[-1], "right")):
            for box in figure.boxes:
                if box.kind in ("input", "output") and box.column == column:
                    yield f"  n{end} -> n{box.id} [style=invis];"


def _caption(figure: Figure) -> str:
    rows = [f"<B>{safe(figure.title, 80)}</B>  {_small(safe(figure.note, 120))}"]
    roles = [_pill(look(role).label, look(role).colour) for role in legend_roles(figure)]
    for bus in figure.buses:
        shape = shapes_text((bus.shape,))
        rows.append(_small(f"{safe(bus.name)} ({safe(shape)}) enters where its colour stands"))
    notes = [symbols_text(figure)]
    if figure.hidden:
        notes.append(f"{figure.hidden} operators on sizes and weights are not drawn.")
    text = " ".join(note for note in notes if note)
    cells = [_cell(row) for row in rows]
    if roles:
        cells.append(_cell(_table(["".join(roles)])))
    if text:
        cells.append(_cell(_small(safe(text, 300))))
    return f"<{_table(cells)}>"
