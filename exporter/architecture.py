"""The half of an export that needs no weights: config -> annotated flat graph."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import onnx
import onnx_ir as ir

from exporter import cache, garbage
from exporter.roles import Roles, annotate
from exporter.types import Dtype, OnProgress, Progress, Source, StageRecord


@dataclass(frozen=True)
class Graph:
    """An architecture, traced, simplified and annotated; any checkpoint of it fits.

    Attributes:
        model: Flat; parameters are inputs after the real ones. Clone it before use.
        inputs: Names of the inputs that are not parameters, in order.
        classes: Qualified class of every module by path.
        roles: What was found in it.
        passes: Node counts around every simplification pass.
        nodes_traced: Nodes as lowered.
    """

    model: ir.Model
    inputs: tuple[str, ...]
    classes: Mapping[str, str]
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
        names = (value.name for value in self.model.graph.inputs)
        return [name for name in names if name and name not in self.inputs]

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
        self.record(StageRecord(name, time.perf_counter() - start))

    def record(self, record: StageRecord) -> None:
        """Adds a stage that has ended."""
        self.records.append(record)
        self.on_progress(Progress(record.name, 1, 1, record=record))


def architecture(
    source: Source, dtype: Dtype, opset: int, keep_fp32: Sequence[str]
) -> tuple[str, ...]:
    """What a graph depends on: two sources that agree here share one."""
    config = {key: value for key, value in source.config.items() if not key.startswith("_")}
    nets = [dict(net.config) for net in source.controlnets]
    adapters = [dict(adapter.shapes) for adapter in source.ip_adapters]
    text = json.dumps([config, *nets, *adapters], sort_keys=True, default=str)
    return (source.class_name, text, str(source.inputs), dtype, str(opset), *keep_fp32)


@garbage.paused()
def build(
    source: Source, dtype: Dtype, opset: int, keep_fp32: Sequence[str], run: Run
) -> Graph:
    """Trace, lower, simplify, annotate.

    Raises:
        GraphError: The configuration cannot be traced or translated.
    """
    # Seconds of torch.onnx and its optimisers, which a graph from the cache does without.
    from exporter.lower import lower
    from exporter.simplify import simplify
    from exporter.torch_dtypes import TORCH_DTYPES
    from exporter.trace import trace
    from exporter.weights.unet import build_unet

    with run.stage("trace"):
        program = trace(source, lambda: build_unet(source), TORCH_DTYPES[dtype], keep_fp32)
    with run.stage("lower"):
        model = lower(program, opset)
    traced = model.graph.num_nodes()
    with run.stage("simplify"):
        model, passes = simplify(model, program.classes, run.on_progress)
    with run.stage("annotate"):
        inputs = tuple(spec.name for spec in source.inputs)
        roles = annotate(model, inputs)
    return Graph(model, inputs, program.classes, roles, passes, traced)


def cached(name: str, run: Run) -> Graph | None:
    """A graph that ``keep`` kept, by its name in the cache; None if it must be built."""
    start = time.perf_counter()
    content = cache.load(name)
    if content is None:
        return None
    head, _, model = content.partition(b"\n")
    facts = json.loads(head)
    graph = Graph(
        ir.from_proto(onnx.ModelProto.FromString(model)),
        tuple(facts["inputs"]),
        facts["classes"],
        Roles(**facts["roles"]),
        tuple(StageRecord(**record) for record in facts["passes"]),
        facts["nodes_traced"],
    )
    run.record(StageRecord("cache", time.perf_counter() - start))
    return graph


def keep(name: str, graph: Graph) -> None:
    """Puts a graph into the cache."""
    facts = {
        "inputs": graph.inputs,
        "classes": dict(graph.classes),
        "roles": asdict(graph.roles),
        "passes": [asdict(record) for record in graph.passes],
        "nodes_traced": graph.nodes_traced,
    }
    model = ir.to_proto(graph.model).SerializeToString(deterministic=True)
    cache.save(name, json.dumps(facts).encode() + b"\n" + model)
