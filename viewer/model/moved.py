"""How far a weight is from the one with its place in another file, read in pieces."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from viewer.errors import LocationError
from viewer.model.atlas import Atlas
from viewer.model.tree import Weight

_ELEMENTS = 1 << 18
"""Numbers read at a time: 1 MiB of float32."""
_PIECE = 1 << 20

_TYPES = {"FLOAT": "<f4", "FLOAT16": "<f2", "BFLOAT16": "<u2", "DOUBLE": "<f8"}


@dataclass(frozen=True)
class Moved:
    """One weight in both files.

    Attributes:
        equal: Whether the bytes are, by SHA-256.
        change: Norm of b - a, in float64; None where it is no finite number or no float type.
        norm: Norm of a.
        largest: Index of the number that differs most, and it in a and in b; None where
            nothing differs or ``change`` is None.
    """

    equal: bool
    change: float | None = None
    norm: float = 0.0
    largest: tuple[tuple[int, ...], float, float] | None = None


def moved(atlases: tuple[Atlas, Atlas], pair: tuple[Weight, Weight]) -> Moved:
    """Compares one weight; memory stays at a few MiB whatever it weighs.

    Args:
        atlases: The two models.
        pair: The weight in each, of one shape; the types may differ.

    Raises:
        LocationError: A file may not or cannot be read, or is too short.
    """
    a, b = pair
    sizes = [_size(weight) for weight in pair]
    count = math.prod(a.shape)
    floats = all(
        size is not None and weight.length == count * size
        for weight, size in zip(pair, sizes, strict=True)
    )
    with atlases[0].file.open(a.location) as one, atlases[1].file.open(b.location) as other:
        one.seek(a.offset)
        other.seek(b.offset)
        if not floats:
            return Moved(_digest(one, a) == _digest(other, b))
        return _distance(_Reader(one, a), _Reader(other, b), count)


def _size(weight: Weight) -> int | None:
    kind = _TYPES.get(weight.dtype)
    return np.dtype(kind).itemsize if kind else None


class _Reader:
    """The numbers of one weight, in order."""

    def __init__(self, stream: BinaryIO, weight: Weight) -> None:
        self.stream, self.weight, self.sha = stream, weight, hashlib.sha256()
        self.type = np.dtype(_TYPES[weight.dtype])

    def take(self, many: int) -> npt.NDArray[np.float64]:
        data = _exactly(self.stream, many * self.type.itemsize, self.weight)
        self.sha.update(data)
        raw = np.frombuffer(data, self.type)
        if self.weight.dtype == "BFLOAT16":
            raw = (raw.astype(np.uint32) << 16).view(np.float32)
        return raw.astype(np.float64)


def _distance(one: _Reader, other: _Reader, count: int) -> Moved:
    change = norm = most = 0.0
    where: tuple[int, float, float] | None = None
    for start in range(0, count, _ELEMENTS):
        many = min(_ELEMENTS, count - start)
        a, b = one.take(many), other.take(many)
        with np.errstate(invalid="ignore", over="ignore"):
            apart = np.abs(b - a)
            change += float(apart @ apart)
            norm += float(a @ a)
        at = int(np.argmax(apart))
        if apart[at] > most:
            most, where = float(apart[at]), (start + at, float(a[at]), float(b[at]))
    equal = one.weight.dtype == other.weight.dtype and one.sha.digest() == other.sha.digest()
    if not math.isfinite(change) or not math.isfinite(norm):
        return Moved(equal)
    return Moved(equal, math.sqrt(change), math.sqrt(norm), _placed(where, one.weight.shape))


def _placed(
    where: tuple[int, float, float] | None, shape: tuple[int, ...]
) -> tuple[tuple[int, ...], float, float] | None:
    if where is None:
        return None
    index = tuple(int(part) for part in np.unravel_index(where[0], shape or (1,)))
    return index, where[1], where[2]


def _digest(stream: BinaryIO, weight: Weight) -> bytes:
    sha, left = hashlib.sha256(), weight.length
    while left:
        piece = min(left, _PIECE)
        sha.update(_exactly(stream, piece, weight))
        left -= piece
    return sha.digest()


def _exactly(stream: BinaryIO, many: int, weight: Weight) -> bytes:
    data = stream.read(many)
    if len(data) < many:
        raise LocationError(f"{weight.location!r} ends before {weight.name!r} does")
    return data


def row(path: str, name: str, found: Moved) -> dict[str, Any]:
    """The same as plain data for the page."""
    return {
        "path": path,
        "name": name,
        "different": not found.equal,
        "change": found.change,
        "norm": found.norm,
        "largest": found.largest,
    }
