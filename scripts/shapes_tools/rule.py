"""The pixel rule: which things an image shows, and whether they are those of its caption."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shapes_tools.scenes import BACKGROUNDS, COLOURS, SHAPES, Scene, shape_mask

_SMALLEST = 20  # pixels; the smallest thing that is drawn has 50
_FURTHEST = 100.0  # from a palette's colour, Euclidean in RGB
_NAMES = [*BACKGROUNDS, *COLOURS]
_AREAS = {"circle": np.pi, "square": 1.76**2, "triangle": 2.09}  # at radius 1


@dataclass(frozen=True)
class Found:
    """A thing seen in an image; its mask is (48, 48)."""

    colour: str
    shape: str
    x: float
    y: float
    mask: NDArray[np.bool_]


@dataclass(frozen=True)
class Verdict:
    """What of a caption an image shows, and the thing found for each that was asked for."""

    background: bool
    colours: bool
    shapes: bool
    relation: bool
    things: tuple[Found | None, ...]

    @property
    def right(self) -> bool:
        """Colour, shape, relation and background."""
        return self.background and self.colours and self.shapes and self.relation


def judge(scene: Scene, image: NDArray[np.uint8]) -> Verdict:
    """Compares an image, (48, 48, 3), with what its caption says."""
    nearest, found = _nearest(image), see(image)
    edge = np.concatenate([nearest[0], nearest[-1], nearest[:, 0], nearest[:, -1]])
    background = bool((edge == _NAMES.index(scene.background)).mean() > 0.8)
    colours = sorted(f.colour for f in found) == sorted(t.colour for t in scene.things)
    things = _assigned(scene, found)
    shapes = len(found) == len(things) and None not in things
    return Verdict(background, colours, shapes, _related(scene, things), things)


def see(image: NDArray[np.uint8]) -> list[Found]:
    """Every thing in an image, (48, 48, 3), whatever was asked for."""
    nearest = _nearest(image)
    return [
        _found(name, mask)
        for name in COLOURS
        for mask in _pieces(nearest == _NAMES.index(name))
    ]


def _nearest(image: NDArray[np.uint8]) -> NDArray[np.int_]:
    """Of each pixel the colour, as its place in ``_NAMES``; -1 where none is near."""
    palette = np.array([*BACKGROUNDS.values(), *COLOURS.values()], float)
    distance = np.linalg.norm(image[:, :, None].astype(float) - palette, axis=-1)
    return np.where(distance.min(-1) < _FURTHEST, distance.argmin(-1), -1)


def _assigned(scene: Scene, found: list[Found]) -> tuple[Found | None, ...]:
    """For each thing asked for the one found; of two equal ones, as the relation wants it."""
    kinds = [(thing.colour, thing.shape) for thing in scene.things]
    fits = [[f for f in found if (f.colour, f.shape) == kind] for kind in kinds]
    if len(kinds) == 2 and kinds[0] == kinds[1]:
        first, second = (*fits[0], None, None)[:2]
        pair = (first, second)
        return pair if _related(scene, pair) else pair[::-1]
    return tuple(fit[0] if fit else None for fit in fits)


def _related(scene: Scene, things: tuple[Found | None, ...]) -> bool:
    if len(scene.things) == 1:
        return True
    first, second = things
    if first is None or second is None:
        return False
    across, down = second.x - first.x, second.y - first.y
    towards = {"left of": across, "right of": -across, "above": down, "below": -down}
    return towards[scene.relation] > 3  # pixels


def _found(colour: str, mask: NDArray[np.bool_]) -> Found:
    rows, columns = np.nonzero(mask)
    x, y = (columns.min() + columns.max() + 1) / 2, (rows.min() + rows.max() + 1) / 2

    def overlap(shape: str) -> float:
        radius = float(np.sqrt(mask.sum() / _AREAS[shape]))
        middle = y + 0.05 * radius if shape == "triangle" else y
        ideal = shape_mask(shape, x, middle, radius)
        return float((ideal & mask).sum() / (ideal | mask).sum())

    return Found(colour, max(SHAPES, key=overlap), float(x), float(y), mask)


def _pieces(mask: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """The connected parts of a mask, small ones left out."""
    left, pieces = mask.copy(), []
    while left.any():
        piece = np.zeros_like(mask)
        start = np.unravel_index(left.argmax(), mask.shape)
        todo = [(int(start[0]), int(start[1]))]
        while todo:
            row, column = todo.pop()
            inside = 0 <= row < mask.shape[0] and 0 <= column < mask.shape[1]
            if inside and left[row, column]:
                left[row, column], piece[row, column] = False, True
                todo += [(row + 1, column), (row - 1, column)]
                todo += [(row, column + 1), (row, column - 1)]
        if piece.sum() >= _SMALLEST:
            pieces.append(piece)
    return pieces
