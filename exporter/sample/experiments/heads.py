"""One head of a cross-attention: what it says is multiplied before heads come together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import onnx_ir as ir

from exporter.errors import UsageError
from exporter.sample.experiments.edit import OneFactor
from exporter.sample.experiments.places import chosen
from exporter.sample.experiments.scaling import module_roles
from exporter.sample.experiments.wish import Wish
from exporter.sample.experiments.words import mixing
from exporter.sample.points import CrossAttention, Points
from exporter.sample.scope import Scope, Scopes


@dataclass(frozen=True)
class Head(OneFactor):
    """The values of one head, multiplied.

    Attributes:
        wish: What was asked for.
        attentions: Where.
        head: Which, from 0.
        number: Of the edit among all: its input is ``experiment.<number>``.
    """

    wish: Wish
    attentions: tuple[CrossAttention, ...]
    head: int
    number: int

    def apply(self, scopes: Scopes) -> None:
        """Multiplies the values by the factor in the head's channels, by 1 in the others."""
        for attention in self.attentions:
            node, index = mixing(scopes.at(attention.node)[0])
            _, scope = scopes.before(node.name or "")
            v = node.inputs[index]
            assert v is not None
            factor = scopes.feed(self.input, ir.DataType.FLOAT, (), scope)
            together = "q_num_heads" in node.attributes  # (B, S, heads * d)
            each = self._each(scope, factor, attention.heads, v, (1,) if together else (1, 1))
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
        self, scope: Scope, factor: ir.Value, heads: int, v: ir.Value, ones: Sequence[int]
    ) -> ir.Value:
        """The factor of each head, (heads, *ones)."""
        which = scope.ints(*range(heads))
        ours = scope.op("Equal", [which, scope.scalar_int(self.head)], ir.DataType.BOOL)
        each = scope.op("Where", [ours, factor, scope.number(1)])
        each = scope.op("Reshape", [each, scope.ints(heads, *ones)])
        return scope.op("CastLike", [each, v], v.dtype)

    def modules(self) -> Sequence[str]:
        """Every cross-attention that it is a head of."""
        return [attention.module for attention in self.attentions]


def head(wish: Wish, points: Points, number: int) -> Head:
    """The head that ``MODULE#3`` means, the first one being 1.

    Raises:
        UsageError: Another form, no cross-attention there, or one of fewer heads.
    """
    match = re.fullmatch(r"(.+)#([0-9]{1,4})", wish.place)
    if match is None:
        raise UsageError(f"{wish}", "head:MODULE#3, the first head being 1")
    which = int(match[2])
    modules = [attention.module for attention in points.attentions]
    there = chosen(replace(wish, place=match[1]), modules, module_roles(points))
    found = tuple(points.attentions[index] for index in there)
    for attention in found:
        if not 1 <= which <= attention.heads:
            raise UsageError(f"{wish} of {attention.module}", f"1 to {attention.heads}")
    return Head(wish, found, which - 1, number)
