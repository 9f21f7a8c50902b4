"""Whether two backends computed the same tensor, in whatever layout each keeps it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from exporter.runtime.session import Array

DEPARTS = 8.0
"""Noise floors beyond which a value departs. Two honest backends are 1 to 2 apart."""


@dataclass(frozen=True)
class Reference:
    """One tensor of PyTorch with what may be expected of it.

    Attributes:
        module: Path of the module that computed it.
        sources: Its diffusers frames, the innermost first; none for a module's output.
        operation: torch function, or ``forward``.
        value: The reference, float32.
        floor: Root mean square of its rounding error: how far two precisions of PyTorch are
            apart here.
    """

    module: str
    sources: tuple[str, ...]
    operation: str
    value: Array
    floor: float

    @property
    def rms(self) -> float:
        """Root mean square of the reference."""
        return float(np.sqrt(np.mean(np.square(self.value, dtype=np.float64))))


@dataclass(frozen=True)
class Match:
    """The nearest PyTorch tensor to one value of the file.

    Attributes:
        reference: That tensor.
        error: Root mean square of the difference; infinite where one side is not finite.
    """

    reference: Reference
    error: float

    @property
    def floors(self) -> float:
        """The error in noise floors."""
        return self.error / self.reference.floor if self.reference.floor else math.inf

    @property
    def relative(self) -> float:
        """The error over the root mean square of the reference."""
        return self.error / self.reference.rms if self.reference.rms else self.error


def comparable(ours: Array, theirs: Array) -> bool:
    """Whether both may be the same tensor: as many elements, or one row for a whole batch.

    diffusers expands a single timestep to the batch before it embeds it; a file may leave that
    to the operator that adds the embedding.
    """
    if ours.size == theirs.size:
        return True
    rows = theirs.shape[0] if theirs.ndim else 1
    if rows < 2 or ours.size * rows != theirs.size:
        return False
    return bool(np.abs(theirs - theirs[:1]).max() <= 1e-5 * np.abs(theirs).max())


def distance(ours: Array, theirs: Array) -> float:
    """Root mean square of the difference, over every layout that ``theirs`` may have.

    Attention keeps heads before or after tokens, transformers keep channels first or last, and
    exporters flatten batch and tokens; all of these are the same numbers.

    Args:
        ours: A value of the file.
        theirs: A tensor of PyTorch for which ``comparable`` holds.
    """
    if ours.size != theirs.size:
        theirs = theirs[:1]
    return min((_rms(ours, layout) for layout in _layouts(ours, theirs)), default=math.inf)


def arranged(ours: Array, theirs: Array) -> Array:
    """``theirs`` in ``ours``'s shape, its axes in the order that the shape tells.

    What is wrong need not be near the right layout. Axes that ``ours`` has merged must
    lie beside one another; of what is left the order nearest to PyTorch's is taken. Where no
    order fits, the nearest in value.
    """
    if ours.size != theirs.size:
        theirs = theirs[:1]
    squeezed = theirs.squeeze()
    wanted = tuple(size for size in ours.shape if size > 1)
    orders = itertools.permutations(range(squeezed.ndim)) if squeezed.ndim <= 4 else ()
    fitting = [o for o in orders if _merges([squeezed.shape[axis] for axis in o], wanted)]
    if not fitting:
        return min(_layouts(ours, theirs), key=lambda layout: _rms(ours, layout))
    return squeezed.transpose(min(fitting, key=_inversions)).reshape(ours.shape)


def _merges(sizes: Sequence[int], wanted: Sequence[int]) -> bool:
    """Whether neighbours among some sizes multiply to others."""
    left = list(sizes)
    for size in wanted:
        product = 1
        while product < size and left:
            product *= left.pop(0)
        if product != size:
            return False
    return not left


def _inversions(order: Sequence[int]) -> int:
    return sum(a > b for a, b in itertools.combinations(order, 2))


def _layouts(ours: Array, theirs: Array) -> Iterator[Array]:
    if ours.shape == theirs.shape:
        yield theirs
        return
    axes = [axis for axis, size in enumerate(theirs.shape) if size > 1]
    squeezed = theirs.reshape([theirs.shape[axis] for axis in axes])
    if squeezed.ndim > 4:  # 120 orders and more; nothing in a UNet needs them
        yield theirs.reshape(ours.shape)
        return
    for order in itertools.permutations(range(squeezed.ndim)):
        yield squeezed.transpose(order).reshape(ours.shape)


def _rms(a: Array, b: Array) -> float:
    with np.errstate(invalid="ignore", over="ignore"):
        difference = np.square(a.astype(np.float64) - b)
    value = float(np.sqrt(difference.mean())) if difference.size else 0.0
    return value if math.isfinite(value) else math.inf
