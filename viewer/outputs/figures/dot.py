"""A ``Figure`` in the DOT language; names of the model are escaped wherever they stand.

A U of blocks or modules comes with positions (``figures.layout``) for ``neato -n2``.
Anything else is left to ``dot``, which ranks boxes along the arrows.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Sequence

from viewer.outputs.figures.figure import (
    Arrow,
    Box,
    Figure,
    count_text,
    hidden_text,
    label_text,
    legend_roles,
    shapes_text,
    symbols_text,
)
from viewer.outputs.figures.geometry import Area, Layout, Line, Rect, text_width
from viewer.outputs.figures.layout import place
from viewer.outputs.roles import look, tint

INK, MUTED, LINE = "#1b2430", "#566272", "#9aa5b1"
FONT = "Helvetica,Arial,sans-serif"
FLOW_COLOURS = {
    "image": "#52606d",
    "skip": look("skip").colour,
    "time": look("time_embedding").colour,
    "text": look("text").colour,
    "prompt": look("image_prompt").colour,
    "control": look("control_image").colour,
    "shape": LINE,
}
_LONGEST = 44
_PAGE, _READABLE = "7.87,11.29", 64
"""A4 in inches less margins of 5 mm; more boxes than this are not squeezed onto it."""


def to_dot(figure: Figure) -> str:
    """The figure as DOT source.

    Args:
        figure: What to draw.

    Returns:
        A digraph. Its first line says which Graphviz program draws it.
    """
    layout = place(figure)
    how = "neato -n2" if layout else "dot"
    lines = [f"// {how} -Tsvg FILE.dot -o FILE.svg", "digraph unet {", *_defaults(figure)]
    inside: dict[int | None, list[Box]] = {}
    for box in figure.boxes:
        inside.setdefault(box.frame, []).append(box)
    if layout is None:
        lines += _frames(figure, None, inside)
        lines += (f"  {_node(box, None)}" for box in inside.get(None, ()))
        lines += (f"  {_ranked(arrow, figure)}" for arrow in figure.arrows)
    else:
        lines += _areas(figure, layout)
        lines += (f"  {_node(box, layout.boxes[box.id])}" for box in figure.boxes)
        lines += (
            f"  {_placed(arrow, layout.lines[number], figure)}"
            for number, arrow in enumerate(figure.arrows)
        )
    return "\n".join([*lines, "}", ""])


def how_to_draw(source: str) -> list[str]:
    """The Graphviz program and options that a source of ours asks for."""
    return ["neato", "-n2"] if source.startswith("// neato -n2 ") else ["dot"]


def safe(text: str, longest: int = _LONGEST) -> str:
    """A name as HTML-like label text: shortened, control characters dropped, escaped."""
    plain = "".join(c if c.isprintable() else " " for c in text)
    if len(plain) > longest:
        plain = f"{plain[: longest - 1]}…"
    return html.escape(plain)


def _defaults(figure: Figure) -> list[str]:
    page = f'size="{_PAGE}", ' if len(figure.boxes) <= _READABLE else ""
    return [
        f"  graph [{page}rankdir=TB, nodesep=0.2, ranksep=0.28, pad=0.12, "
        f'fontname="{FONT}", fontsize=8, fontcolor="{INK}", labelloc=b, '
        f"label={_caption(figure)}];",
        f'  node [shape=box, style="rounded,filled", fillcolor=white, color="{LINE}", '
        f'fontname="{FONT}", fontsize=8, fontcolor="{INK}", margin="0.05,0.01", '
        "height=0.2, width=0.5, penwidth=0.8];",
        f'  edge [fontname="{FONT}", fontsize=7, color="{FLOW_COLOURS["image"]}", '
        f'fontcolor="{MUTED}", arrowsize=0.5, penwidth=0.9];',
    ]


def _table(rows: Iterable[str], spacing: int = 1) -> str:
    body = "".join(f"<TR>{row}</TR>" for row in rows)
    frame = f'BORDER="0" CELLBORDER="0" CELLSPACING="{spacing}" CELLPADDING="0"'
    return f"<TABLE {frame}>{body}</TABLE>"


def _cell(text: str, options: str = "") -> str:
    return f"<TD {options}>{text}</TD>"


def _small(text: str, colour: str = MUTED, size: float = 7) -> str:
    return f'<FONT POINT-SIZE="{size}" COLOR="{colour}">{text}</FONT>' if text else ""


def _pill(text: str, colour: str) -> str:
    """A coloured cell with white text."""
    inner = _small(html.escape(text), "#ffffff", 6.5)
    return _cell(inner, f'BGCOLOR="{colour}" CELLPADDING="1"')


def _node(box: Box, rect: Rect | None) -> str:
    colour = look(box.role).colour
    options = {"label": _label(box, (rect.width if rect else 150) - 14)}
    if box.role not in ("", "block") and not box.strip:
        options["color"] = f'"{colour}"'
        options["fillcolor"] = f'"{tint(colour, 0.1)}"'
    if box.kind in ("input", "output"):
        options["style"] = '"filled"'
        options["fillcolor"] = '"#ffffff"' if box.role else '"#f3f5f8"'
    if rect:
        options["pos"] = f'"{_point((rect.x, rect.y))}"'
        options["width"] = f"{rect.width / 72:.3f}"
        options["height"] = f"{rect.height / 72:.3f}"
    return f"n{box.id} [{_joined(options)}];"


def _label(box: Box, width: float) -> str:
    title = f"<B>{safe(box.title)}</B>"
    chips = [_pill(flow, FLOW_COLOURS[flow]) for flow in box.takes]
    chips += [_pill("concat", FLOW_COLOURS["skip"])] if box.joins else []
    chips += [_pill(f"{flow} →", FLOW_COLOURS[flow]) for flow in box.feeds]
    if box.strip:
        return f"<{_block(box, title, chips, width)}>"
    cells = [_cell(title), _cell(f" {_small(safe(box.note))} ") if box.note else "", *chips]
    return f"<{_table([''.join(cells)])}>"


def _block(box: Box, title: str, chips: Sequence[str], width: float) -> str:
    """A closed block: its name and size, its class and what enters, its pieces in order."""
    params = _small(count_text(box.params) if box.params else "")
    head = _table([_cell(title, 'ALIGN="LEFT"') + _cell(f" {params}", 'ALIGN="RIGHT"')])
    # Graphviz stretches a table to its cell, and all its cells alike: filler takes the rest.
    used = text_width(box.note, 7) + sum(text_width(flow, 6.5) + 4 for flow in box.takes)
    foot = [_cell(_small(safe(box.note))), _filler(width - used), *chips]
    used = sum(text_width(look(role).short, 6.5) + 4 for role in box.strip)
    strip = [_pill(look(role).short, look(role).colour) for role in box.strip]
    rows = (head, _table(["".join(foot)]), _table(["".join([*strip, _filler(width - used)])]))
    return _table([_cell(row) for row in rows])


def _filler(width: float) -> str:
    return _cell("", f'WIDTH="{max(1, round(width) - 4)}"')


def _frames(
    figure: Figure, parent: int | None, inside: dict[int | None, list[Box]]
) -> Iterator[str]:
    for frame in figure.frames:
        if frame.parent == parent:
            note = _small(safe(frame.note))
            style = _frame_style(frame.role, f"<B>{safe(frame.title)}</B>  {note}")
            yield f"  subgraph cluster_{frame.id} {{ graph [{style}];"
            yield from _frames(figure, frame.id, inside)
            yield from (f"  {_node(box, None)}" for box in inside.get(frame.id, ()))
            yield "  }"


def _frame_style(role: str, title: str) -> str:
    colour = look(role).colour
    return (
        f'label=<{title}>, labeljust=l, labelloc=t, style="rounded,filled", margin=6, '
        f'fillcolor="{tint(colour, 0.05)}", color="{tint(colour, 0.35)}", penwidth=0.8'
    )


def _areas(figure: Figure, layout: Layout) -> Iterator[str]:
    for number, area in enumerate(layout.areas):
        rect, title = area.rect, safe(area.title)
        if area.frame is None:
            style = f'label=<{_small(title)}>, style="rounded,filled", color="#eef1f5"'
        else:
            style = _frame_style(figure.frames[area.frame].role, f"<B>{title}</B>")
        corners = f"{rect.left:.1f},{rect.bottom:.1f},{rect.right:.1f},{rect.top:.1f}"
        members = " ".join(f"n{identifier};" for identifier in area.boxes)
        yield (
            f'  subgraph cluster_{number} {{ graph [{style}, bb="{corners}", '
            f'lp="{_title_place(area)}"]; {members} }}'
        )


def _title_place(area: Area) -> str:
    bold = area.frame is not None
    half = text_width(area.title, 8 if bold else 7, bold) / 2
    return _point((area.rect.left + 7 + half, area.rect.top - 6.5))


def _placed(arrow: Arrow, line: Line, figure: Figure) -> str:
    """An arrow along its line: DOT names the tip first, then a start and control points."""
    options = _colours(arrow)
    text = label_text(figure, arrow)
    if text:
        options |= {"label": _lines(text), "lp": f'"{_point(line.label)}"'}
    *points, last = line.points
    (x, y), (px, py) = last, points[-1]
    length = max(((x - px) ** 2 + (y - py) ** 2) ** 0.5, 0.01)
    base = (x - 5 * (x - px) / length, y - 5 * (y - py) / length)
    path = " ".join(_point(point) for point in (*points, base))
    options["pos"] = f'"e,{_point(last)} {path}"'
    return f"n{arrow.source} -> n{arrow.target} [{_joined(options)}];"


def _ranked(arrow: Arrow, figure: Figure) -> str:
    """An arrow for ``dot`` to route; on the way up it is written backwards, so it climbs."""
    source, target = figure.boxes[arrow.source], figure.boxes[arrow.target]
    options = _colours(arrow)
    text = label_text(figure, arrow)
    if text:
        options["label"] = _lines(text)
    if target.column == "right" and source.column in ("right", "mid"):
        options["dir"] = "back"
        source, target = target, source
    elif target.column == "right":
        options |= {"constraint": "false", "weight": "0"}
    return f"n{source.id} -> n{target.id} [{_joined(options)}];"


def _colours(arrow: Arrow) -> dict[str, str]:
    colour = f'"{FLOW_COLOURS[arrow.flow]}"'
    return {"color": colour} | ({} if arrow.flow == "image" else {"fontcolor": colour})


def _lines(text: str) -> str:
    return (
        "<" + "<BR/>".join(f"&#160;{safe(line, 60)}&#160;" for line in text.split("\n")) + ">"
    )


def _point(point: tuple[float, float]) -> str:
    return f"{point[0]:.1f},{point[1]:.1f}"


def _joined(options: dict[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in options.items())


def _caption(figure: Figure) -> str:
    rows = [_cell(f"<B>{safe(figure.title, 80)}</B>  {_small(safe(figure.note, 120))}")]
    for bus in figure.buses:
        said = f"{bus.name} ({shapes_text((bus.shape,))}) enters where “{bus.flow}” stands"
        square = _small("■", FLOW_COLOURS[bus.flow], 8)
        rows.append(_cell(f"{square} {_small(safe(said, 100))}"))
    roles = [_pill(look(role).label, look(role).colour) for role in legend_roles(figure)]
    if roles:
        rows.append(_cell(_table(["".join(roles)], 2)))
    notes = [symbols_text(figure), hidden_text(figure)]
    text = " ".join(note for note in notes if note)
    if text:
        rows.append(_cell(_small(safe(text, 300))))
    return f"<{_table(rows)}>"
