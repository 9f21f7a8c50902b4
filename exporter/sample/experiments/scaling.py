"""Skips, time vectors and branches: one operand of one node, multiplied."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from exporter.errors import UsageError
from exporter.paths import is_inside
from exporter.sample.experiments.edit import OneFactor, strength
from exporter.sample.experiments.places import chosen
from exporter.sample.experiments.wish import Wish
from exporter.sample.points import Points, Residual
from exporter.sample.scope import Scopes


@dataclass(frozen=True)
class Operand:
    """What arrives at a node.

    Attributes:
        node: Name of the node.
        index: Which operand.
        module: What it belongs to.
        neutral: What is left where it is scaled to 0: 0 is added, or multiplied by 1.
    """

    node: str
    index: int
    module: str
    neutral: int = 0


@dataclass(frozen=True)
class Scaling(OneFactor):
    """Operands multiplied by one factor.

    Attributes:
        wish: What was asked for.
        operands: What is multiplied.
        number: Of the edit among all: its input is ``experiment.<number>``.
    """

    wish: Wish
    operands: tuple[Operand, ...]
    number: int

    def apply(self, scopes: Scopes) -> None:
        """Puts a Mul before each node, or the like where 1 is neutral."""
        for operand in self.operands:
            node, scope = scopes.before(operand.node)
            value = node.inputs[operand.index]
            assert value is not None
            factor = strength(scopes, scope, self.input, value)
            if operand.neutral:  # 1 + factor * (value - 1)
                one = scope.op("CastLike", [scope.number(1), value], value.dtype)
                rest = scope.op("Sub", [value, one], value.dtype)
                scaled = scope.op("Mul", [rest, factor], value.dtype)
                scaled = scope.op("Add", [scaled, one], value.dtype)
            else:
                scaled = scope.op("Mul", [value, factor], value.dtype)
            scaled.shape = value.shape
            node.replace_input_with(operand.index, scaled)

    def modules(self) -> Sequence[str]:
        """Of every operand, each once."""
        return list(dict.fromkeys(operand.module for operand in self.operands))


def operands(wish: Wish, points: Points) -> tuple[Operand, ...]:
    """What a wish of one of these kinds means in a file.

    Raises:
        UsageError: Nothing; see ``places.chosen``.
    """
    return tuple(_FINDERS[wish.kind](wish, points))


def _skips(wish: Wish, points: Points) -> Iterable[Operand]:
    ids = [skip.id for skip in points.skips]
    if wish.place.isdecimal():
        found = [index for index, id_ in enumerate(ids) if id_ == wish.place]
        if not found:
            known = f"0 to {len(ids) - 1}" if ids else "a model with skips"
            raise UsageError(f"skip:{wish.place}: no such skip", known)
    else:
        modules = [skip.module for skip in points.skips]
        found = chosen(wish, modules, module_roles(points))
    for skip in (points.skips[index] for index in found):
        yield Operand(skip.node, skip.skip, skip.module)


def _times(wish: Wish, points: Points) -> Iterable[Operand]:
    modules = [injection.module for injection in points.injections]
    for index in chosen(wish, modules, module_roles(points)):
        place = points.injections[index]
        yield Operand(place.node, place.vector, place.module, int(place.op == "Mul"))


def _branches(*wanted: str) -> Callable[[Wish, Points], Iterable[Operand]]:
    def find(wish: Wish, points: Points) -> Iterable[Operand]:
        found = [residual for residual in points.residuals if residual.role in wanted]
        modules = [residual.module for residual in found]
        return _added(found[index] for index in chosen(wish, modules, module_roles(points)))

    return find


def _blocks(wish: Wish, points: Points) -> Iterable[Operand]:
    """The outermost branches inside a block: off, only shortcuts and samplers are left."""
    blocks = outer_blocks(points)
    around = [blocks[index] for index in chosen(wish, blocks, module_roles(points))]
    inside = [r for r in points.residuals if any(is_inside(r.module, b) for b in around)]
    modules = {residual.module for residual in inside}
    return _added(
        residual
        for residual in inside
        if not any(is_inside(residual.module, other) for other in modules - {residual.module})
    )


def outer_blocks(points: Points) -> list[str]:
    """The down, mid and up blocks: modules in no other one, with branches inside."""
    modules = [block.module for block in points.blocks]
    return [
        module
        for module in modules
        if not any(is_inside(module, other) for other in modules if other != module)
        and any(is_inside(r.module, module) and r.module != module for r in points.residuals)
    ]


def _added(residuals: Iterable[Residual]) -> Iterable[Operand]:
    return (Operand(r.node, r.branch, r.module) for r in residuals)


def module_roles(points: Points) -> dict[str, str]:
    """Role of every module that is known by name."""
    found = {block.module: block.role for block in points.blocks}
    return {**{r.module: r.role for r in points.residuals}, **found}


_ATTENTIONS = ("cross_attention", "self_attention", "joint_attention")
_FINDERS: Mapping[str, Callable[[Wish, Points], Iterable[Operand]]] = {
    "skip": _skips,
    "time": _times,
    "attn": _branches(*_ATTENTIONS),
    "cross": _branches("cross_attention"),
    "self": _branches("self_attention"),
    "ff": _branches("feed_forward"),
    "transformer": _branches("transformer"),
    "resnet": _branches("resnet"),
    "block": _blocks,
}
