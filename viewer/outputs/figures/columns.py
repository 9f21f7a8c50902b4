"""Which side of the U each box of a figure stands on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from viewer.model.atlas import Atlas
from viewer.outputs.figures.figure import Arrow, Box, Column
from viewer.outputs.roles import ROLE_OF_FLOW

_SIDES: dict[str, Column] = {"down": "left", "mid": "mid", "up": "right"}


def columns(atlas: Atlas, boxes: Sequence[Box], arrows: Sequence[Arrow]) -> list[Box]:
    """Places boxes in the U by their side; what follows the way up belongs to it.

    Args:
        atlas: A read model.
        boxes: By id.
        arrows: Between them.

    Returns:
        The boxes with their columns; as they were when there is no way down or no way up.
    """
    nodes = atlas.tree.nodes
    column: dict[int, Column] = {}
    for box in boxes:
        side = next((nodes[n].side for n in box.nodes if nodes[n].side), "")
        if side in _SIDES:
            column[box.id] = _SIDES[side]
    if not {"left", "right"} <= set(column.values()):
        return list(boxes)
    follows: dict[int, list[int]] = {}
    for arrow in arrows:
        follows.setdefault(arrow.source, []).append(arrow.target)
    front = [identifier for identifier, place in column.items() if place == "right"]
    while front:
        for target in follows.get(front.pop(), ()):
            if target not in column:
                column[target] = "right"
                front.append(target)
    return [replace(b, column=column.get(b.id) or _before(atlas, b)) for b in boxes]


def _before(atlas: Atlas, box: Box) -> Column:
    """Before the way down: conditioning stands above the U, the image at its left."""
    tree = atlas.tree
    if box.kind == "input":
        return "top" if box.role else "left"
    members = [leaf for n in box.nodes for leaf in tree.inside(tree.nodes[n])]
    flows = {tree.values[v].flow for leaf in members for v in leaf.outputs}
    return "top" if flows <= {*ROLE_OF_FLOW, "shape"} else "left"
