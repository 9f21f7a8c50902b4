"""A copy of a written file whose extra outputs are measurements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import onnx_ir as ir

from exporter.runtime.loading import load_graph, understood
from exporter.sample import measures
from exporter.sample.experiments.edit import Experiment, no_experiment
from exporter.sample.find import find_points
from exporter.sample.points import CrossAttention, Points
from exporter.sample.scope import Scopes
from exporter.sample.stage import SAMPLER
from exporter.sampler.extract import give_out, unet_of

Measured = Literal["all", "maps", "nothing"]

OUT = "out_sample"
EMBEDDING = "watch.embedding"


@dataclass(frozen=True)
class Instrumented:
    """A model that tells what happens inside.

    Attributes:
        content: The serialised model; external weights are referred to, not copied.
        folder: Where those weights lie.
        points: What is measured. Output ``watch.block.3`` belongs to ``points.blocks[3]``;
            ``residual``, ``injection``, ``skip``, ``entropy`` and ``map`` (both of
            ``points.attentions``) likewise.
        maps: Whether ``map`` outputs are there.
        heads: Whether ``heads`` outputs, the same of each head, are there.
        selves: Self-attentions that are measured too: ``watch.self.3`` belongs to the fourth.
        experiment: What was changed, and what it is fed.
    """

    content: bytes
    folder: Path
    points: Points
    maps: bool
    heads: bool
    experiment: Experiment
    selves: tuple[CrossAttention, ...] = ()


def instrument(
    path: Path,
    *,
    maps: bool = True,
    heads: bool = False,
    selves: Callable[[CrossAttention], bool] = lambda _: False,
    measured: Measured = "all",
    planned: Callable[[Points], Experiment] = no_experiment,
) -> Instrumented:
    """Reads a file and adds measurements where its annotations say what is what.

    Functions stay functions and gain outputs, so that ONNX Runtime optimises the rest as it
    does without: inlining them here would change which operators it fuses, and thereby the
    last bits of the result.

    Args:
        path: A file written by the exporter, folded or flat; of a sampler's, the UNet in its
            loop is measured, and the copy gives out every round.
        maps: Also return attention maps.
        heads: Also return those of each head.
        selves: Which self-attentions to return: where each pixel looks.
        measured: ``maps`` for attention maps alone, ``nothing`` for a copy that is edited and
            not watched.
        planned: Says what to change, given what is there; it is changed before anything is
            measured, so that what is measured is what happens.

    Raises:
        UsageError: The file has no annotations, or attentions unlike diffusers'; or what
            ``planned`` raises.
    """
    whole = load_graph(path)
    model = unet_of(whole, path) if SAMPLER in whole.metadata_props else whole
    points = find_points(model)
    scopes = Scopes(model)
    experiment = planned(points)
    experiment.apply(scopes)
    if measured == "all":
        _measure(scopes, points)
    if measured in ("all", "maps"):
        _attentions(scopes, points, maps=maps, heads=heads)
    looking = tuple(attention for attention in points.selves if selves(attention))
    _selves(scopes, looking)
    if model is not whole:
        give_out(whole, model, path)
    with understood(path):
        content = bytes(ir.to_proto(whole).SerializeToString())
    return Instrumented(content, path.parent, points, maps, heads, experiment, looking)


def _measure(scopes: Scopes, points: Points) -> None:
    """Everything but attention."""
    for index, block in enumerate(points.blocks):
        node, scope = scopes.at(block.node)
        found = measures.moments(scope, node.outputs[0])
        scopes.lift(found, scope, f"watch.block.{index}")
    _residuals(scopes, points)
    _arrivals(scopes, points)
    if points.embedding is not None:
        node, scope = scopes.at(points.embedding.node)
        vector = scope.op("Cast", [node.outputs[0]], to=ir.DataType.FLOAT)
        scopes.lift(vector, scope, EMBEDDING)


def _residuals(scopes: Scopes, points: Points) -> None:
    """Mean squares of what each residual Add adds, and of what it adds to."""
    for index, residual in enumerate(points.residuals):
        node, scope = scopes.at(residual.node)
        added, trunk = measures.summands(scope, node, residual.branch)
        rows = [measures.mean_square(scope, value) for value in (added, trunk)]
        scopes.lift(measures.column(scope, rows), scope, f"watch.residual.{index}")


def _arrivals(scopes: Scopes, points: Points) -> None:
    """Mean squares of each injected vector and each skip, and of what it meets."""
    for kind, name, index, operand in (
        *(("injection", j.node, i, j.vector) for i, j in enumerate(points.injections)),
        *(("skip", s.node, i, s.skip) for i, s in enumerate(points.skips)),
    ):
        node, scope = scopes.at(name)
        arriving, met = node.inputs[operand], node.inputs[1 - operand]
        assert arriving is not None
        assert met is not None
        trunk = measures.mean_square(scope, met)
        added = measures.mean_square(scope, arriving)
        if kind == "injection":
            added = measures.spread_over(scope, added, trunk)
        scopes.lift(measures.column(scope, [added, trunk]), scope, f"watch.{kind}.{index}")


def _attentions(scopes: Scopes, points: Points, *, maps: bool, heads: bool) -> None:
    for index, attention in enumerate(points.attentions):
        node, scope = scopes.at(attention.node)
        p = measures.probabilities(scope, node, attention.heads)
        scopes.lift(measures.entropy(scope, p), scope, f"watch.entropy.{index}")
        if maps:
            scopes.lift(measures.token_maps(scope, p), scope, f"watch.map.{index}")
        if heads:
            scopes.lift(measures.head_maps(scope, p), scope, f"watch.heads.{index}")


def _selves(scopes: Scopes, attentions: Sequence[CrossAttention]) -> None:
    for index, attention in enumerate(attentions):
        node, scope = scopes.at(attention.node)
        p = measures.probabilities(scope, node, attention.heads)
        scopes.lift(measures.places_maps(scope, p), scope, f"watch.self.{index}")
