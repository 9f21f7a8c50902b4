"""A ``Figure`` in the DOT language: a U with down at the left, mid below, up at the right.

``dot`` ranks nodes along the arrows, so arrows on the way up are written backwards
(``dir=back``) and their boxes climb. Skips have no say in the ranks, but each pair of ends that
can stand at one height is put on one rank (``newrank`` lets frames share ranks).
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Sequence

from viewer.outputs.figure import (
    Arrow,
    Box,
    Figure,
    Frame,
    count_text,
    legend_roles,
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
    if figure.is_u:
        lines += _u(figure)
    lines += (f"  {_edge(arrow, figure)}" for arrow in figure.arrows)
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
        f'  graph [rankdir=TB, newrank=true, splines={splines}, nodesep=0.22, ranksep=0.26, '
        f'pad=0.1, fontname="{FONT}", fontsize=8, fontcolor="{INK}", labelloc=b, '
        f"label={_caption(figure)}];",
        f'  node [shape=box, style="rounded,filled", fillcolor=white, color="{LINE}", '
        f'fontname="{FONT}", fontsize=8.5, fontcolor="{INK}", margin="0.06,0.03", '
        "height=0.2, width=0.5, penwidth=0.8];",
        f'  edge [fontname="{FONT}", fontsize=7, color="{FLOW_COLOURS["image"]}", '
        f'fontcolor="{MUTED}", arrowsize=0.5, penwidth=0.9];',
    ]


def _table(rows: Iterable[str], options: str = "") -> str:
    body = "".join(f"<TR>{row}</TR>" for row in rows)
    return f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="2" CELLPADDING="0" {options}>{body}</TABLE>'


def _cell(text: str, options: str = "") -> str:
    return f"<TD {options}>{text}</TD>"


def _small(text: str, colour: str = MUTED, size: float = 7) -> str:
    return f'<FONT POINT-SIZE="{size}" COLOR="{colour}">{text}</FONT>'


def _pill(text: str, colour: str) -> str:
    """A coloured cell with white text."""
    inner = _small(html.escape(text), "#ffffff", 6.5)
    return _cell(inner, f'BGCOLOR="{colour}" CELLPADDING="2"')


def _node(box: Box, figure: Figure) -> str:
    colour = look(box.role).colour
    options = {"label": _label(box)}
    if box.role not in ("", "block"):
        options["color"] = f'"{colour}"'
        options["fillcolor"] = f'"{tint(colour, 0.1)}"'
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
            yield f"  subgraph cluster_{frame.id} {{ {_frame_style(frame)}"
            yield from _frames(figure, frame.id, inside)
            yield from (f"  {_node(box, figure)}" for box in inside.get(frame.id, ()))
            yield "  }"


def _frame_style(frame: Frame) -> str:
    colour = look(frame.role).colour
    title = f"<B>{safe(frame.title)}</B>  {_small(safe(frame.note))}"
    return (
        f'label=<{title}>; labeljust=l; labelloc=t; style="rounded,filled"; margin=6; '
        f'fillcolor="{tint(colour, 0.05)}"; color="{tint(colour, 0.35)}"; penwidth=0.8;'
    )


def _edge(arrow: Arrow, figure: Figure) -> str:
    source, target = figure.boxes[arrow.source], figure.boxes[arrow.target]
    options = {"color": f'"{FLOW_COLOURS[arrow.flow]}"'}
    text = shapes_text(arrow.shapes)
    if text:
        beside = figure.is_u and not _level(source, target)
        options["xlabel" if beside else "label"] = _lines(text)
    if arrow.flow != "image":
        options["fontcolor"] = options["color"]
    if not figure.is_u:
        return _written(source, target, options)
    if target.column == "right" and source.column in ("right", "mid"):
        options["dir"] = "back"
        source, target = target, source
    elif target.column == "right" or "top" in (source.column, target.column):
        options["constraint"] = "false"
    if arrow.flow == "image" and options.get("constraint") is None:
        options["weight"] = "20"
    return _written(source, target, options)


def _level(source: Box, target: Box) -> bool:
    """Whether the arrow runs level, where dot makes room for a label by itself."""
    return source.column == "left" and target.column == "right"


def _lines(text: str) -> str:
    return "<" + "<BR/>".join(safe(line, 60) for line in text.split("\n")) + ">"


def _written(source: Box, target: Box, options: dict[str, str]) -> str:
    written = ", ".join(f"{key}={value}" for key, value in options.items())
    return f"n{source.id} -> n{target.id} [{written}];"


def _u(figure: Figure) -> Iterator[str]:
    """Who stands beside whom."""
    top = [box for box in figure.boxes if box.column == "top"]
    mid = [box for box in figure.boxes if box.column == "mid"]
    for left, right in pairs(figure):
        yield f"  {{ rank=same; n{left}; n{right}; }}"
    if len(mid) <= 4:
        yield f"  {{ rank=same; {' '.join(f'n{box.id};' for box in mid)} }}"
    if top:
        yield f"  {{ rank=same; {' '.join(f'n{box.id};' for box in top)} }}"
    ports = [b for b in figure.boxes if b.kind in ("input", "output") and b.column != "top"]
    if ports:
        yield f"  {{ rank=same; {' '.join(f'n{box.id};' for box in ports)} }}"
    for box in top[:1]:
        yield from (f"  n{box.id} -> n{port.id} [style=invis];" for port in ports)


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
