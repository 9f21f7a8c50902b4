"""Gives symbolic dimensions their short names: B, H/2, HW/4, S."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

import onnx_ir as ir
import sympy

MAX_LEVELS = 8
POINTS = (  # two assignments far apart: no two different expressions agree on both
    {"B": 3, "H": 1009, "W": 1423, "S": 83, "T": 1},
    {"B": 5, "H": 2003, "W": 2741, "S": 91, "T": 1},
)


class NameDims(ir.passes.InPlacePass):
    """Renames every symbolic dimension by what it evaluates to.

    torch.export names a dimension by an expression such as ``((s30 - 1)//2) + 1``. Two
    expressions are one dimension when they agree on sizes that are prime and far apart, so
    each is looked up among the sizes a UNet can have: ``H/2^k`` (rounded up), their product,
    the batch, the text length. What is not found keeps its expression, in our letters.

    Args:
        axes: torch's symbol to ours, e.g. ``{"s30": "H"}``.
        ceil: Whether odd sizes are halved upwards; False where only even ones occur.
    """

    def __init__(self, axes: Mapping[str, str], *, ceil: bool) -> None:
        super().__init__()
        self.axes = dict(axes)
        self.points: tuple[Mapping[str, int], ...] = POINTS
        if not ceil:
            scale = 2**MAX_LEVELS
            self.points = tuple(
                {k: v * scale if k in "HW" else v for k, v in p.items()} for p in POINTS
            )
        self.names = {self._values(text): name for name, text in _candidates()}
        self.name = cache(self._name)

    def call(self, model: ir.Model) -> ir.passes.PassResult:  # noqa: D102
        modified = False
        for value in _values_of(model.graph):
            if value.shape is None:
                continue
            dims = [d if isinstance(d, int) else self.name(str(d)) for d in value.shape]
            if dims != [d if isinstance(d, int) else str(d) for d in value.shape]:
                value.shape = ir.Shape(dims)
                modified = True
        return ir.passes.PassResult(model, modified)

    def _name(self, text: str) -> int | str:
        text = re.sub(r"\w+", lambda word: self.axes.get(word[0], word[0]), text)
        values = self._values(text)
        if values is None or text in POINTS[0]:
            return text.replace(" ", "")
        if len(set(values)) == 1:
            return values[0]
        return self.names.get(values, text.replace(" ", ""))

    def _values(self, text: str) -> tuple[int, ...] | None:
        symbols = {name: sympy.Symbol(name, integer=True, positive=True) for name in "BHWST"}
        try:
            expression = sympy.sympify(text, locals=symbols)
        except (sympy.SympifyError, TypeError):
            return None
        if not expression.free_symbols <= set(symbols.values()):
            return None
        return tuple(
            int(expression.subs({symbols[k]: v for k, v in point.items()}))
            for point in self.points
        )


def _candidates() -> list[tuple[str, str]]:
    names = [(letter, letter) for letter in "BS"]
    for level in range(MAX_LEVELS):
        size, by, area = 2**level, f"/{2**level}", f"/{4**level}"
        height, width = f"((H + {size - 1})//{size})", f"((W + {size - 1})//{size})"
        plain = level == 0
        names += [
            ("H" if plain else "H" + by, height),
            ("W" if plain else "W" + by, width),
            ("HW" if plain else "HW" + area, f"{height}*{width}"),
            ("S+HW" if plain else "S+HW" + area, f"S + {height}*{width}"),
        ]
    for level in range(1, 4):  # of an image, until it is as large as the latents
        names += [(f"{2**level}{axis}", f"{2**level}*{axis}") for axis in "HW"]
    return names


def _values_of(graph: ir.Graph) -> list[ir.Value]:
    produced = [v for node in graph for v in node.outputs]
    return [*graph.inputs, *graph.initializers.values(), *produced]
