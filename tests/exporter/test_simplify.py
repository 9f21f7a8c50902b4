"""The simplified graph: small, plain ONNX, the same whether modules were repeated or not."""

from collections import Counter

import onnx
import onnx_ir as ir
import pytest
import torch

from exporter import metadata as meta
from exporter import trace as tracing
from exporter.lower import lower
from exporter.roles import annotate
from exporter.simplify import passes, simplify
from exporter.values import dims
from exporter.weights.unet import build_unet


def _described(value):
    """A value by name; constants, whose names do not matter, by what they hold."""
    if value is None or value.const_value is None:
        return value and value.name
    return value.const_value.numpy().tobytes()


@pytest.fixture
def graph(workshop):
    return workshop.graph("micro")


def test_every_pass_is_counted(graph, workshop):
    names = [type(step).__name__.removesuffix("Pass") for step in passes({})]
    assert [record.name for record in graph.passes] == names
    for before, after in zip(graph.passes, graph.passes[1:], strict=False):
        assert before.nodes_after == after.nodes_before
    assert graph.passes[0].nodes_before == graph.nodes_traced
    assert graph.passes[-1].nodes_after == graph.nodes


def test_operators_are_standard_onnx(graph):
    assert {node.domain for node in graph.model.graph} == {""}
    assert set(graph.model.opset_imports) == {""}
    kinds = {node.op_type for node in graph.model.graph}
    for kind in kinds:
        onnx.defs.get_schema(kind, max_inclusive_version=24)
    assert {"GroupNormalization", "LayerNormalization", "Attention", "Swish"} <= kinds
    assert kinds.isdisjoint({"Sigmoid", "Identity", "Softmax", "ReduceMean", "Constant"})


def test_attention_has_nothing_around_it(graph):
    for node in graph.model.graph:
        if node.op_type == "Attention":
            around = [v.producer().op_type for v in node.inputs if v.producer() is not None]
            around += [use.node.op_type for use in node.outputs[0].uses()]
            assert not {"Reshape", "Transpose"} & set(around)
            assert len(dims(node.outputs[0])) == 3


def test_sizes_are_read_where_they_are_used(graph):
    for node in graph.model.graph:
        if node.op_type == "Shape":
            (use,) = node.outputs[0].uses()
            assert use.node.op_type in ("Reshape", "Resize")
            assert use.node.metadata_props[meta.MODULE] == node.metadata_props[meta.MODULE]
    arithmetic = [
        node.op_type
        for node in graph.model.graph
        if node.outputs[0].dtype == ir.DataType.INT64 and node.op_type != "Shape"
    ]
    assert arithmetic == []


def test_the_time_path_reads_no_sample(graph):
    temb = next(v for n in graph.model.graph for v in n.outputs if v.name == "temb")
    assert dims(temb)[0] == "T"


def test_node_count(graph):
    """A jump means that some pattern no longer matches."""
    assert graph.nodes - graph.weight_transposes <= 260


def test_repeating_modules_changes_nothing(workshop, graph, monkeypatch):
    """One trace per kind of module and copies of it: the graph that tracing all would give."""
    monkeypatch.setattr(tracing, "mark_repeats", lambda _: None)
    source = workshop.source("micro")
    program = tracing.trace(source, lambda: build_unet(source), torch.float32)
    model, _ = simplify(lower(program, 24), program.classes)
    assert annotate(model, [spec.name for spec in source.inputs]) == graph.roles

    def described(nodes):
        return Counter(
            (
                node.op_type,
                node.name,
                tuple(_described(value) for value in node.inputs),
                tuple(str(value.shape) for value in node.outputs),
                str(sorted(map(str, node.attributes.values()))),
                tuple(sorted(node.metadata_props.items())),
            )
            for node in nodes
        )

    assert described(model.graph) == described(graph.model.graph)
