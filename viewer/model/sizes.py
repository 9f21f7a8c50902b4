"""Symbolic dimensions and what one operator costs at a nominal size."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from viewer.numbers import count

Dim = int | str | None
Shape = tuple[Dim, ...]

_FACTOR = re.compile(r"^(?P<symbol>[A-Za-z_]\w*)(?:/(?P<divisor>[0-9]{1,9}))?$")
_FACTORS, _MOST = 8, 1 << 62
_SYMBOLS = {"batch": "B", "batch_size": "B", "height": "H", "width": "W", "sequence": "S"}


@dataclass(frozen=True)
class Nominal:
    """The size at which shapes are shown as numbers and costs are counted.

    Attributes:
        batch: ``B``, and ``T`` where there is one timestep a sample.
        height: ``H``, latent pixels.
        width: ``W``, latent pixels.
        tokens: ``S``, text tokens.
    """

    batch: int = 1
    height: int = 64
    width: int = 64
    tokens: int = 77

    def dim(self, dim: Dim) -> int | None:
        """A dimension as a number; None when it names something unknown.

        ``H/2`` is ``ceil(H/2)``; ``HW/4`` is ``ceil(H/2) * ceil(W/2)``; factors are
        joined with ``*``.
        """
        if isinstance(dim, int):
            return dim
        if not dim:
            return None
        factors = dim.replace(" ", "").strip("()").split("*", _FACTORS)
        return size([self._factor(factor) for factor in factors])

    def _factor(self, text: str) -> int | None:
        if (number := count(text)) is not None:
            return number
        match = _FACTOR.match(text)
        if match is None:
            return None
        divisor = int(match["divisor"] or 1)
        symbol = _SYMBOLS.get(match["symbol"].lower(), match["symbol"])
        if symbol == "HW":
            side = math.isqrt(divisor)
            if side == 0 or side * side != divisor:
                return None
            return -(-self.height // side) * -(-self.width // side)
        known = {"B": self.batch, "T": self.batch, "H": self.height, "W": self.width}
        known["S"] = self.tokens
        if symbol not in known or divisor == 0:
            return None
        return -(-known[symbol] // divisor)

    def shape(self, shape: Shape | None) -> tuple[int, ...] | None:
        """A shape as numbers; None when any dimension is unknown."""
        if shape is None:
            return None
        numbers = tuple(self.dim(dim) for dim in shape)
        return None if None in numbers else numbers  # type: ignore[return-value]


def size(shape: Sequence[int | None]) -> int | None:
    """The number of elements; None if a dimension is unknown, or it is beyond any tensor."""
    product = 1
    for dim in shape:
        if dim is None or product > _MOST:
            return None
        product *= dim
    return product if product <= _MOST else None


# One floating-point operation for each element that comes out.
_PER_ELEMENT = frozenset(
    """Add Sub Mul Div Pow Sqrt Sigmoid Tanh Relu Exp Cos Sin Erf Neg Clip Where
    BiasAdd""".split()  # noqa: SIM905
)
# Mean, variance, normalise, scale, shift; or maximum, subtract, exp, sum, divide.
_FIVE_PER_ELEMENT = frozenset(
    """GroupNormalization InstanceNormalization LayerNormalization RMSNormalization
    BatchNormalization Softmax LogSoftmax Gelu Swish HardSwish Mish
    GroupNorm SkipGroupNorm SkipLayerNormalization BiasSplitGelu QuickGelu""".split()  # noqa: SIM905
)
_FREE = frozenset(
    """Cast Concat Constant ConstantOfShape Expand Flatten Gather Identity Pad Range
    Reshape Resize Shape Size Slice Split Squeeze Transpose Unsqueeze""".split()  # noqa: SIM905
)


def flops(
    op: str,
    inputs: Sequence[tuple[int, ...] | None],
    outputs: Sequence[tuple[int, ...] | None],
    attributes: Mapping[str, Any],
) -> int | None:
    """Floating-point operations of one operator; a multiply-add counts as two.

    Args:
        op: Operator type of the default ONNX domain, or of ONNX Runtime's own.
        inputs: Shapes of the operands, weights included; None where unknown.
        outputs: Shapes of the results.
        attributes: The node's plain attributes.

    Returns:
        The count, or None when the operator or a shape it needs is unknown.
    """
    if op in _FREE:
        return 0
    out = outputs[0] if outputs else None
    elements = size(out) if out is not None else None
    if out is None or elements is None:
        return None
    if op in _PER_ELEMENT:
        return elements
    if op in _FIVE_PER_ELEMENT:
        return 5 * elements
    counter = _COUNTERS.get(op)
    if counter is None or any(shape is None or size(shape) is None for shape in inputs[:2]):
        return None
    return counter([shape or () for shape in inputs], out, attributes)


Shapes = Sequence[tuple[int, ...]]


def _conv(inputs: Shapes, out: tuple[int, ...], attributes: Mapping[str, Any]) -> int:
    return 2 * math.prod(out) * math.prod(inputs[1][1:])


def _conv_transpose(inputs: Shapes, out: tuple[int, ...], _: Mapping[str, Any]) -> int:
    return 2 * math.prod(inputs[0]) * math.prod(inputs[1][1:])


def _matmul(inputs: Shapes, out: tuple[int, ...], _: Mapping[str, Any]) -> int:
    return 2 * math.prod(out) * (inputs[0][-1] if inputs[0] else 1)


def _gemm(inputs: Shapes, out: tuple[int, ...], attributes: Mapping[str, Any]) -> int:
    inner = inputs[0][0 if attributes.get("transA") else 1] if len(inputs[0]) == 2 else 1
    return 2 * math.prod(out) * inner


def _attention(
    inputs: Shapes, out: tuple[int, ...], attributes: Mapping[str, Any]
) -> int | None:
    # Scores and their weighted sum: 2 * tokens_q * tokens_k * channels each.
    query, key = inputs[0], inputs[1]
    if len(query) < 3 or len(key) < 3:
        return None
    channels = query[-1] * (query[1] if len(query) == 4 else 1)
    return 4 * query[0] * query[-2] * key[-2] * channels


_COUNTERS: Mapping[str, Callable[..., int | None]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "MatMul": _matmul,
    "Gemm": _gemm,
    "NhwcConv": _conv,
    "Attention": _attention,
    "MultiHeadAttention": _attention,
}
