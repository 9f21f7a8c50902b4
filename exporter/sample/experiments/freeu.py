"""FreeU (https://arxiv.org/abs/2309.11497): a stronger trunk, skips of less low frequency.

As ``apply_freeu`` in diffusers/utils/torch_utils.py: in the first two up blocks, half of the
trunk's channels are multiplied by b, and the frequencies 0 and -1 of the skip, both ways, by
s. Those four are a projection, so that no Fourier transform is needed: with the matrices
``P = (1 + exp(-2 pi i (y - y') / n)) / n`` of each axis, the filtered skip is
``x + (s - 1) Re(P_h x P_w^T)``, a few products of real matrices in standard operators.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from exporter.errors import UsageError
from exporter.sample.experiments.edit import INPUT, Feeds, scalar
from exporter.sample.experiments.wish import Wish
from exporter.sample.points import Points, Skip
from exporter.sample.scope import Scope, Scopes


@dataclass(frozen=True)
class FreeU:
    """Both factors at both stages.

    Attributes:
        wish: Its factors are s1, s2, b1 and b2.
        stages: The skips of the first two up blocks.
        number: Of the edit among all: its inputs are ``experiment.<number>.s1`` and so on.
    """

    wish: Wish
    stages: tuple[tuple[Skip, ...], ...]
    number: int

    @property
    def wishes(self) -> Sequence[Wish]:
        """The one."""
        return (self.wish,)

    def apply(self, scopes: Scopes) -> None:
        """Changes both operands of every Concat of a skip in the two blocks."""
        for stage, skips in enumerate(self.stages):
            for skip in skips:
                self._apply(scopes, skip, str(stage + 1))

    def _apply(self, scopes: Scopes, skip: Skip, stage: str) -> None:
        node, scope = scopes.before(skip.node)
        waited, trunk = node.inputs[skip.skip], node.inputs[1 - skip.skip]
        assert waited is not None
        assert trunk is not None
        b = scopes.feed(self._input(f"b{stage}"), ir.DataType.FLOAT, (), scope)
        s = scopes.feed(self._input(f"s{stage}"), ir.DataType.FLOAT, (), scope)
        factor = scope.op("Where", [_first_half(scope, trunk), b, scope.number(1)])
        louder = scope.op("Mul", [trunk, _like(scope, factor, trunk)], trunk.dtype)
        filtered = _filtered(scope, scope.op("Cast", [waited], to=ir.DataType.FLOAT), s)
        changed = _like(scope, filtered, waited)
        louder.shape, changed.shape = trunk.shape, waited.shape
        node.replace_input_with(1 - skip.skip, louder)
        node.replace_input_with(skip.skip, changed)

    def feeds(self, active: Collection[Wish]) -> Feeds:
        """The factors, or 1 each."""
        factors = self.wish.factors if self.wish in active else (1.0,) * 4
        names = ("s1", "s2", "b1", "b2")
        return {self._input(n): scalar(f) for n, f in zip(names, factors, strict=True)}

    def modules(self) -> Sequence[str]:
        """The two up blocks."""
        return list(dict.fromkeys(skip.module for stage in self.stages for skip in stage))

    def _input(self, name: str) -> str:
        return f"{INPUT}.{self.number}.{name}"


def stages(points: Points) -> tuple[tuple[Skip, ...], ...]:
    """The skips of the first two blocks that take skips.

    Raises:
        UsageError: There are fewer than two.
    """
    modules = list(dict.fromkeys(skip.module for skip in points.skips))[:2]
    if len(modules) < 2:
        raise UsageError("freeu", "a model of two up blocks that take skips")
    return tuple(
        tuple(skip for skip in points.skips if skip.module == module) for module in modules
    )


def _filtered(scope: Scope, x: ir.Value, s: ir.Value) -> ir.Value:
    """(B, C, H, W) with its four lowest frequencies multiplied by ``s``."""
    (real_h, imag_h), (real_w, imag_w) = _projector(scope, x, 2), _projector(scope, x, 3)
    first = scope.op("MatMul", [scope.op("MatMul", [real_h, x]), real_w])
    # the imaginary part is antisymmetric, so that its transpose is its negative
    second = scope.op("MatMul", [scope.op("MatMul", [imag_h, x]), imag_w])
    low = scope.op("Add", [first, second])
    less = scope.op("Sub", [s, scope.number(1)])
    return scope.op("Add", [x, scope.op("Mul", [low, less])])


def _projector(scope: Scope, x: ir.Value, axis: int) -> tuple[ir.Value, ir.Value]:
    """Real and imaginary part of the projector onto frequencies 0 and -1 of an axis."""
    length, place = _counted(scope, x, axis)
    rows = scope.op("Unsqueeze", [place, scope.ints(1)], ir.DataType.INT64)
    columns = scope.op("Unsqueeze", [place, scope.ints(0)], ir.DataType.INT64)
    apart = scope.op("Cast", [scope.op("Sub", [rows, columns])], to=ir.DataType.FLOAT)
    count = scope.op("Cast", [length], to=ir.DataType.FLOAT)
    turn = scope.op("Div", [scope.op("Mul", [apart, scope.number(-2 * math.pi)]), count])
    real = scope.op("Add", [scope.op("Cos", [turn]), scope.number(1)])
    imaginary = scope.op("Sin", [turn])
    return scope.op("Div", [real, count]), scope.op("Div", [imaginary, count])


def _first_half(scope: Scope, x: ir.Value) -> ir.Value:
    """(1, C, 1, 1): whether a channel is in the first half."""
    count, place = _counted(scope, x, 1)
    half = scope.op("Div", [count, scope.scalar_int(2)], ir.DataType.INT64)
    first = scope.op("Less", [place, half], ir.DataType.BOOL)
    return scope.op("Reshape", [first, scope.ints(1, -1, 1, 1)], ir.DataType.BOOL)


def _counted(scope: Scope, x: ir.Value, axis: int) -> tuple[ir.Value, ir.Value]:
    """Length n of an axis, and 0 to n - 1."""
    size = scope.op("Shape", [x], ir.DataType.INT64, start=axis, end=axis + 1)
    length = scope.op("Squeeze", [size], ir.DataType.INT64)
    zero, one = scope.scalar_int(0), scope.scalar_int(1)
    return length, scope.op("Range", [zero, length, one], ir.DataType.INT64)


def _like(scope: Scope, value: ir.Value, other: ir.Value) -> ir.Value:
    return scope.op("CastLike", [value, other], other.dtype)
