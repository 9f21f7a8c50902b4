"""Which box on the way down stands at the height of which box on the way up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from viewer.outputs.figures.figure import Figure


@dataclass(frozen=True)
class _Pair:
    left: int
    right: int
    weight: float


def pairs(figure: Figure) -> list[tuple[int, int]]:
    """Boxes that can share a rank: a heaviest set of skips of which no two cross.

    Going down at the left, each next pair must go down at the right too. That is a heaviest
    increasing subsequence, found in O(n^2) for n skips. A pair weighs as many skips as it
    has, and a little more within one level and between two blocks.

    Args:
        figure: A figure that is a U.

    Returns:
        Ids of boxes, left and right, from the top down.
    """
    found = []
    for arrow in figure.arrows:
        source, target = figure.boxes[arrow.source], figure.boxes[arrow.target]
        if source.column == "left" and target.column == "right":
            alike = 0.5 * (source.level == target.level)
            alike += 0.25 * (bool(source.strip) == bool(target.strip))
            found.append(_Pair(source.id, target.id, len(arrow.shapes) + alike))
    # The way up is drawn upside down: a later box stands higher.
    ordered = sorted(found, key=lambda pair: (pair.left, -pair.right))
    return [(pair.left, pair.right) for pair in _heaviest(ordered)]


def _heaviest(ordered: Sequence[_Pair]) -> list[_Pair]:
    best: list[
        tuple[float, int]
    ] = []  # weight of the best chain that ends here, its last but one
    for index, pair in enumerate(ordered):
        weight, before = 0.0, -1
        for at in range(index):
            other = ordered[at]
            if other.left < pair.left and other.right > pair.right and best[at][0] > weight:
                weight, before = best[at][0], at
        best.append((weight + pair.weight, before))
    chain: list[_Pair] = []
    at = max(range(len(best)), key=lambda i: best[i][0], default=-1)
    while at >= 0:
        chain.append(ordered[at])
        at = best[at][1]
    return chain[::-1]
