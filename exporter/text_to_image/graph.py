"""A part -> its graph: traced, simplified, annotated; without weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir
import torch

from exporter import garbage
from exporter import metadata as meta
from exporter.architecture import Run
from exporter.fold import fold
from exporter.lower import lower
from exporter.reading.summary import definition
from exporter.simplify import simplify
from exporter.text_to_image.part import Part
from exporter.torch_dtypes import TORCH_DTYPES
from exporter.trace import Subject, trace_module
from exporter.types import Dtype


@dataclass(frozen=True)
class PartGraph:
    """A part's graph.

    Attributes:
        model: Flat; parameters that are used are inputs after the real ones.
        classes: Qualified class of every module that becomes a function, by path.
    """

    model: ir.Model
    classes: dict[str, str]


@garbage.paused()
def build_part(part: Part, dtype: Dtype, opset: int, run: Run) -> PartGraph:
    """Trace, lower, simplify, annotate; told as one stage under the part's name.

    Raises:
        GraphError: It cannot be traced or translated.
    """
    with run.stage(part.name):
        wrapper = part.build()
        kind = TORCH_DTYPES[dtype]
        torch.nn.Module.to(wrapper, kind)  # diffusers' own `to` warns on a bare cast
        subject = Subject(
            f"{part.class_name} of {part.name}", part.inputs, kind, 1, part.outputs
        )
        program = trace_module(wrapper, subject)
        model, _ = simplify(lower(program, opset), program.classes)
        _drop_unused(model, {spec.name for spec in part.inputs})
        _annotate(model, part, program.classes[""])
    return PartGraph(model, _foldable(program.classes))


def fold_part(graph: PartGraph, part: Part) -> None:
    """Modules become functions of the domain ``part.name``, once weights are attached.

    From then on ``atlas.module`` begins with the part's name: it is the path in the pipeline.
    """
    fold(graph.model, graph.classes, part.name)
    for body in (graph.model.graph, *(f.graph for f in graph.model.functions.values())):
        for node in body.all_nodes():
            path = node.metadata_props.get(meta.MODULE, "")
            node.metadata_props[meta.MODULE] = f"{part.name}.{path}" if path else part.name


def _foldable(classes: Mapping[str, str]) -> dict[str, str]:
    """Activations stay plain operators."""
    return {p: c for p, c in classes.items() if not c.startswith("transformers.activations.")}


def _drop_unused(model: ir.Model, own: set[str]) -> None:
    graph = model.graph
    for value in [v for v in graph.inputs if v.name not in own and not v.uses()]:
        graph.inputs.remove(value)


def _annotate(model: ir.Model, part: Part, cls: str) -> None:
    """Every node is of the part, and of the part's own class where nothing else is known."""
    file, line = definition(cls)
    for node in model.graph:
        props = node.metadata_props
        props.setdefault(meta.MODULE, "")
        props.setdefault(meta.CLASS, cls)
        props[meta.SOURCE] = props.get(meta.SOURCE) or f"{file}:{line}"
        props[meta.ROLE] = part.role
