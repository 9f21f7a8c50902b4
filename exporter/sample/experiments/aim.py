"""Cross-attentions, or one head of them, as a place says which."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import onnx_ir as ir

from exporter.errors import UsageError
from exporter.sample.experiments.places import chosen
from exporter.sample.experiments.scaling import module_roles
from exporter.sample.experiments.wish import Wish
from exporter.sample.points import CrossAttention, Points
from exporter.sample.scope import Scope


@dataclass(frozen=True)
class Aim:
    """Where in the text's way an edit takes effect.

    Attributes:
        attentions: Which cross-attentions.
        head: Which head of each, from 0; None for all of them.
    """

    attentions: tuple[CrossAttention, ...]
    head: int | None = None

    def modules(self) -> Sequence[str]:
        """Module path of each."""
        return [attention.module for attention in self.attentions]

    def is_head(
        self, scope: Scope, attention: CrossAttention, ones: Sequence[int]
    ) -> ir.Value:
        """Of every head of an attention whether it is the one: (heads, *ones) of booleans."""
        which = scope.ints(*range(attention.heads))
        ours = scope.op("Equal", [which, scope.scalar_int(self.head or 0)], ir.DataType.BOOL)
        shape = scope.ints(attention.heads, *ones)
        return scope.op("Reshape", [ours, shape], ir.DataType.BOOL)


def find_aim(wish: Wish, place: str, points: Points) -> Aim:
    """What ``MODULE`` or ``MODULE#3`` means, the first head being 1.

    Args:
        wish: Of which the place is a part.
        place: The part.
        points: What the file has.

    Raises:
        UsageError: No cross-attention there, or one of fewer heads.
    """
    match = re.fullmatch(r"(.+)#([0-9]{1,4})", place)
    module, number = (match[1], int(match[2])) if match else (place, None)
    modules = [attention.module for attention in points.attentions]
    kind = "cross" if number is None else "head"
    there = chosen(replace(wish, kind=kind, place=module), modules, module_roles(points))
    found = tuple(points.attentions[index] for index in there)
    if number is None:
        return Aim(found)
    for attention in found:
        if not 1 <= number <= attention.heads:
            raise UsageError(f"{wish} of {attention.module}", f"1 to {attention.heads}")
    return Aim(found, number - 1)
