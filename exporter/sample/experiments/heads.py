"""One head of a cross-attention: what it says is multiplied before heads come together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from exporter.errors import UsageError
from exporter.sample.experiments.aim import Aim, find_aim
from exporter.sample.experiments.edit import OneFactor
from exporter.sample.experiments.wish import Wish
from exporter.sample.experiments.words import mixing
from exporter.sample.points import CrossAttention, Points
from exporter.sample.scope import Scope, Scopes


@dataclass(frozen=True)
class Head(OneFactor):
    """The values of one head, multiplied.

    Attributes:
        wish: What was asked for.
        aim: Which head, and of what.
        number: Of the edit among all: its input is ``experiment.<number>``.
    """

    wish: Wish
    aim: Aim
    number: int

    def apply(self, scopes: Scopes) -> None:
        """Multiplies the values by the factor in the head's channels, by 1 in the others."""
        for attention in self.aim.attentions:
            node, index = mixing(scopes.at(attention.node)[0])
            _, scope = scopes.before(node.name or "")
            v = node.inputs[index]
            assert v is not None
            factor = scopes.feed(self.input, ir.DataType.FLOAT, (), scope)
            together = "q_num_heads" in node.attributes  # (B, S, heads * d)
            each = self._each(scope, factor, attention, v, (1,) if together else (1, 1))
            if together:
                split = scope.ints(0, 0, attention.heads, -1)
                apart = scope.op("Reshape", [v, split], v.dtype)
                scaled = scope.op("Mul", [apart, each], v.dtype)
                scaled = scope.op("Reshape", [scaled, scope.ints(0, 0, -1)], v.dtype)
            else:
                scaled = scope.op("Mul", [v, each], v.dtype)
            scaled.shape = v.shape
            node.replace_input_with(index, scaled)

    def _each(
        self,
        scope: Scope,
        factor: ir.Value,
        attention: CrossAttention,
        v: ir.Value,
        ones: Sequence[int],
    ) -> ir.Value:
        """The factor of each head, (heads, *ones)."""
        ours = self.aim.is_head(scope, attention, ones)
        each = scope.op("Where", [ours, factor, scope.number(1)])
        return scope.op("CastLike", [each, v], v.dtype)

    def modules(self) -> Sequence[str]:
        """Every cross-attention that it is a head of."""
        return self.aim.modules()


def head(wish: Wish, points: Points, number: int) -> Head:
    """The head that ``MODULE#3`` means, the first one being 1.

    Raises:
        UsageError: Another form, no cross-attention there, or one of fewer heads.
    """
    if not re.search(r".#[0-9]{1,4}$", wish.place):
        raise UsageError(f"{wish}", "head:MODULE#3, the first head being 1")
    return Head(wish, find_aim(wish, wish.place, points), number)
