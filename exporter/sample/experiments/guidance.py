"""One half of classifier-free guidance, silenced: the other one speaks for both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from exporter.sample.experiments.edit import INPUT, OneFactor, strength
from exporter.sample.experiments.wish import Wish
from exporter.sample.scope import Scopes

HALVES = ("uncond", "cond")


@dataclass(frozen=True)
class Guidance(OneFactor):
    """A half of the prediction, moved towards the other one.

    Attributes:
        wish: What was asked for; its place is one of ``HALVES``.
        number: Of the edit among all: its input is ``experiment.<number>``.
    """

    wish: Wish
    number: int

    def apply(self, scopes: Scopes) -> None:
        """``half = factor * half + (1 - factor) * other`` at the graph's output."""
        graph, scope = scopes.model.graph, scopes.top
        out = graph.outputs[0]
        name, out.name = out.name, f"{INPUT}/before_{self.number}"
        factor = strength(scopes, scope, self.input, out)
        halves = scope.ops("Split", [out], out.dtype, count=2, axis=0, num_outputs=2)
        at = HALVES.index(self.wish.place)
        own, other = halves[at], halves[1 - at]
        one = scope.op("CastLike", [scope.number(1), out], out.dtype)
        rest = scope.op("Sub", [one, factor], out.dtype)
        blended = scope.op(
            "Add",
            [
                scope.op("Mul", [own, factor], out.dtype),
                scope.op("Mul", [other, rest], out.dtype),
            ],
            out.dtype,
        )
        both = [blended, other] if at == 0 else [other, blended]
        joined = scope.op("Concat", both, out.dtype, axis=0)
        joined.name, joined.shape = name, out.shape
        graph.outputs[0] = joined

    def modules(self) -> Sequence[str]:
        """What it changes is the prediction."""
        return ("conv_out",)
