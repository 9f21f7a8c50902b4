"""The visible list of passes between lowering and annotation."""

from __future__ import annotations

import time
from collections.abc import Mapping

import onnx_ir as ir
from onnx_ir.passes.common import CommonSubexpressionEliminationPass, RemoveUnusedNodesPass

from exporter.passes.attention_3d import Attention3D
from exporter.passes.broadcast_timestep import BroadcastTimestep
from exporter.passes.image_prompts import ImagePrompts
from exporter.passes.names import Names
from exporter.passes.optimizers import OnnxscriptOptimizer, Onnxsim
from exporter.passes.origins import Origins
from exporter.passes.repeats import ExpandRepeats
from exporter.passes.shape_like import ShapeLike
from exporter.passes.shared_nets import SharedNets
from exporter.passes.slice_of_concat import SliceOfConcat
from exporter.passes.static_reshape import StaticReshape
from exporter.passes.swish import Swish
from exporter.types import OnProgress, Progress, StageRecord, quiet


def passes(classes: Mapping[str, str]) -> tuple[ir.passes.PassBase, ...]:
    """What simplification is, in order.

    The shape passes run first: they need only the named shapes, and what they free (two
    thirds of all nodes) the optimisers then never see.
    """
    return (
        Attention3D(),
        ShapeLike(),
        StaticReshape(),
        RemoveUnusedNodesPass(),
        OnnxscriptOptimizer(),
        ExpandRepeats(),
        SliceOfConcat(),
        BroadcastTimestep(),
        Swish(),
        CommonSubexpressionEliminationPass(),
        RemoveUnusedNodesPass(),
        Onnxsim(),
        SharedNets(classes),
        Origins(classes),
        ImagePrompts(classes),
        Names(),
    )


def simplify(
    model: ir.Model, classes: Mapping[str, str], on_progress: OnProgress = quiet
) -> tuple[ir.Model, tuple[StageRecord, ...]]:
    """Runs every pass and counts nodes around it.

    Args:
        model: What ``lower`` returned: flat, weights as inputs, named shapes.
        classes: Qualified class of every module by path.
        on_progress: Told after each pass.

    Returns:
        The simplified model, computing the same function, and one record per pass.
    """
    records = []
    steps = passes(classes)
    for index, step in enumerate(steps):
        start, before = time.perf_counter(), model.graph.num_nodes()
        model = step(model).model
        seconds = time.perf_counter() - start
        name = type(step).__name__.removesuffix("Pass")
        records.append(StageRecord(name, seconds, before, model.graph.num_nodes()))
        on_progress(Progress("simplify", index + 1, len(steps), "passes"))
    return model, tuple(records)
