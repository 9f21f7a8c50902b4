"""The half of an export that needs no weights: config -> annotated flat graph."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import onnx_ir as ir

from exporter import garbage
from exporter.annotate import Roles, annotate
from exporter.lower import lower
from exporter.simplify import simplify
from exporter.trace import trace
from exporter.types import (
    TORCH_DTYPES,
    Dtype,
    OnProgress,
    Program,
    Progress,
    Source,
    StageRecord,
)
from exporter.weights.unet import build_unet


@dataclass(frozen=True)
class Graph:
    """An architecture, traced, simplified and annotated; any checkpoint of it fits.

    Attributes:
        model: Flat; parameters are inputs after the real ones. Clone it before use.
        program: What it was lowered from.
        roles: What was found in it.
        passes: Node counts around every simplification pass.
        nodes_traced: Nodes as lowered.
    """

    model: ir.Model
    program: Program
    roles: Roles
    passes: tuple[StageRecord, ...]
    nodes_traced: int

    @property
    def nodes(self) -> int:
        """Nodes after simplification."""
        return self.model.graph.num_nodes()

    @property
    def parameters(self) -> list[str]:
        """Names of the parameter inputs."""
        names = {spec.name for spec in self.program.inputs}
        return [v.name for v in self.model.graph.inputs if v.name and v.name not in names]

    @property
    def transposed(self) -> frozenset[str]:
        """Matrices that nothing reads but Transposes: a file may hold them transposed."""
        values = {value.name or "": value for value in self.model.graph.inputs}
        return frozenset(
            name
            for name in self.parameters
            if len(values[name].shape or ()) == 2
            and all(use.node.op_type == "Transpose" for use in values[name].uses())
        )

    @property
    def weight_transposes(self) -> int:
        """Nodes that only transpose a parameter; what linking costs."""
        parameters = set(self.parameters)
        transposed = (n.inputs[0] for n in self.model.graph if n.op_type == "Transpose")
        return sum(value is not None and value.name in parameters for value in transposed)


class Run:
    """Times the stages of one export and reports them."""

    def __init__(self, on_progress: OnProgress) -> None:
        self.on_progress, self.start = on_progress, time.perf_counter()
        self.records: list[StageRecord] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Runs the body as the stage ``name``."""
        start = time.perf_counter()
        self.on_progress(Progress(name))
        yield
        record = StageRecord(name, time.perf_counter() - start)
        self.records.append(record)
        self.on_progress(Progress(name, 1, 1, record=record))


def architecture(
    source: Source, dtype: Dtype, opset: int, keep_fp32: Sequence[str]
) -> tuple[str, ...]:
    """What a graph depends on: two sources that agree here share one."""
    config = {key: value for key, value in source.config.items() if not key.startswith("_")}
    text = json.dumps(config, sort_keys=True, default=str)
    return (source.class_name, text, str(source.inputs), dtype, str(opset), *keep_fp32)


@garbage.paused()
def build(
    source: Source, dtype: Dtype, opset: int, keep_fp32: Sequence[str], run: Run
) -> Graph:
    """Trace, lower, simplify, annotate.

    Raises:
        GraphError: The configuration cannot be traced or translated.
    """
    with run.stage("trace"):
        program = trace(source, lambda: build_unet(source), TORCH_DTYPES[dtype], keep_fp32)
    with run.stage("lower"):
        model = lower(program, opset)
    traced = model.graph.num_nodes()
    with run.stage("simplify"):
        model, passes = simplify(model, program.classes, run.on_progress)
    with run.stage("annotate"):
        roles = annotate(model, [spec.name for spec in source.inputs])
    return Graph(model, program, roles, passes, traced)
