"""The written file: nested functions to find one's way in, equal to the flat graph."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch

from exporter import metadata as meta
from exporter.parity.ask import ask
from exporter.parity.cases import ParityCase
from exporter.parity.subject import Subject
from exporter.report import ExportReport
from exporter.runtime.session import open_session
from exporter.types import Source
from exporter.weights.unet import build_unet

NAMES = ("micro", "tiny", "tiny-xl", "ddpm", "text-in-attn1", "added-kv", "resnet-steps")
LABEL = 20  # characters of an operator that Netron shows


@dataclass(frozen=True)
class Written:
    source: Source
    folded: Path
    flat: Path
    report: ExportReport
    model: ir.Model

    @property
    def unet(self) -> torch.nn.Module:
        return build_unet(self.source)


@pytest.fixture(scope="module", params=NAMES)
def written(request, workshop, tmp_path_factory):
    name, folder = request.param, tmp_path_factory.mktemp(request.param)
    pipeline = workshop.pipeline(name)
    folded, flat = folder / "folded.onnx", folder / "flat.onnx"
    report = workshop.export(folded, pipeline)
    workshop.export(flat, pipeline, flat=True)
    return Written(workshop.source(name), folded, flat, report, ir.load(folded))


def _shape(value):
    return ",".join(d.dim_param or str(d.dim_value) for d in value.type.tensor_type.shape.dim)


def _calls(nodes):
    return [node for node in nodes if node.domain.startswith("unet.")]


def _everywhere(model):
    return [model.graph, *model.functions.values()]


def test_the_checker_accepts_both(written):
    for path in (written.folded, written.flat):
        onnx.checker.check_model(str(path), full_check=True)


@pytest.mark.parametrize("optimize", [False, True])
def test_folded_and_flat_compute_the_same(written, optimize, floors):
    """Bit for bit as written; ONNX Runtime's fusions round differently in a folded graph."""
    case, subject = ParityCase(3, 10, 12, 5, 261.25), Subject(written.source, provider="cpu")
    inputs = subject.inputs(case)
    folded, flat = (
        open_session(path, "cpu", optimize=optimize).run(inputs)["out_sample"]
        for path in (written.folded, written.flat)
    )
    assert folded.shape == (3, written.unet.config["out_channels"], 10, 12)
    if not optimize:
        np.testing.assert_array_equal(folded, flat)
        return
    (answer,) = ask(subject, [case])
    for ours in (folded, flat):
        floors.check(ours, answer.native, answer.truth, 2)


def test_the_top_level_reads_like_the_architecture(written):
    nodes, unet = list(written.model.graph), written.unet
    assert len(nodes) == written.report.nodes_top <= 25
    called = [call.metadata_props[meta.MODULE] for call in _calls(nodes)]
    blocks = [
        *(f"down_blocks.{i}" for i in range(len(unet.down_blocks))),
        *(["mid_block"] if unet.mid_block is not None else []),
        *(f"up_blocks.{i}" for i in range(len(unet.up_blocks))),
    ]
    assert [path for path in called if "block" in path] == blocks


def test_the_top_level_computes_no_sizes(written):
    sizes = [node for node in written.model.graph if node.op_type == "Shape"]
    assert not sizes


def test_equal_exports_are_equal_files(written):
    """Nothing in a function follows the order of a set, which differs between runs."""
    for function in written.model.functions.values():
        assert list(function.opset_imports) == sorted(function.opset_imports)


def test_no_size_travels_between_blocks(written):
    model = written.model
    numbers = {v.name for v in model.graph.inputs if v.dtype == ir.DataType.INT64}
    assert numbers <= {"class_labels"}
    for graph in _everywhere(model):
        for call in _calls(graph):
            for value in [*call.inputs, *call.outputs]:
                assert value.dtype != ir.DataType.INT64 or value.name == "class_labels"


def test_functions_follow_the_modules(written):
    unet, model = written.unet, written.model
    assert len(model.functions) == written.report.functions
    for domain, name, _ in model.functions:
        assert 0 < len(name) <= LABEL
        assert name.replace("_", "").isalnum()
        module = unet.get_submodule(domain.removeprefix("unet."))
        assert type(module).__module__.startswith("diffusers.")
    assert len({domain for domain, _, _ in model.functions}) == len(model.functions)


def test_every_call_lies_inside_its_parent(written):
    depths = set()
    for graph in _everywhere(written.model):
        here = graph.domain.removeprefix("unet.") if isinstance(graph, ir.Function) else ""
        for node in graph:
            path = node.metadata_props[meta.MODULE]
            assert not here or path == here or path.startswith(here + ".")
            if node.domain.startswith("unet."):
                assert node.domain == f"unet.{path}"
                assert path != here
                depths.add(path.count("."))
    assert len(depths) >= 2


def test_calls_count_their_parameters(written):
    unet = written.unet
    for graph in _everywhere(written.model):
        for call in _calls(graph):
            module = unet.get_submodule(call.metadata_props[meta.MODULE])
            count = sum(p.numel() for p in module.parameters())
            assert int(call.metadata_props.get(meta.PARAMS, 0)) == count


def test_parameters_are_external_constants_where_they_are_used(written):
    unet, model = written.unet, written.model
    parameters = {name for name, _ in unet.named_parameters()}
    inside = [
        f"{function.domain.removeprefix('unet.')}.{node.outputs[0].name}"
        for function in model.functions.values()
        for node in function
        if node.op_type == "Constant"
        and isinstance(node.attributes["value"].value, ir.ExternalTensor)
    ]
    assert len(set(inside)) == len(inside)
    assert set(inside) <= parameters
    left = parameters - set(inside)
    assert left <= set(model.graph.initializers)
    for name in left:  # torch's own layers directly under the UNet
        assert type(unet.get_submodule(name.rpartition(".")[0])).__module__.startswith(
            "torch."
        )


def test_every_node_and_value_is_described(written):
    for graph in _everywhere(written.model):
        for node in graph:
            for key in (meta.MODULE, meta.CLASS, meta.SOURCE, meta.ROLE):
                assert node.metadata_props[key] or key == meta.MODULE
            assert node.metadata_props[meta.ROLE] in meta.ROLES
            for value in node.outputs:
                assert value.shape is not None, value
                assert value.dtype is not None, value


def test_functions_explain_themselves(written):
    for function in onnx.load(written.folded, load_external_data=False).functions:
        doc, path = function.doc_string, function.domain.removeprefix("unet.")
        shapes = {value.name: _shape(value) for value in function.value_info}
        assert doc.startswith(f"### `{path}`")
        assert type(written.unet.get_submodule(path)).__name__ in doc
        assert "https://github.com/huggingface/diffusers/blob/v" in doc
        for place, names in (("in", function.input), ("out", function.output)):
            for name in names:
                assert f"| {place} | `{name}` | `{shapes[name]}` |" in doc
    assert "cross_attention" in written.model.graph.doc_string


def test_values_are_named_for_what_they_are(written):
    inputs = [spec.name for spec in written.source.inputs]
    assert [value.name for value in written.model.graph.inputs] == inputs
    assert [value.name for value in written.model.graph.outputs] == ["out_sample"]
    blocks = [
        function
        for function in written.model.functions.values()
        if function.domain.count(".") == 2 and "blocks" in function.domain
    ]
    for function in blocks:
        names = {value.name for value in function.inputs}
        assert all(re.fullmatch(r"hidden|text|(temb|skip)(_\d+)?", n) for n in names), names
    sinks = {
        value.name
        for function in blocks
        if function.domain.startswith("unet.up_blocks.")
        for value in function.inputs
        if value.name.startswith("skip_")
    }
    assert sinks >= {f"skip_{i}" for i in range(written.report.roles.skip)}


def test_the_flat_graph_keeps_pytorchs_names(written):
    model = ir.load(written.flat)
    assert not model.functions
    assert model.graph.num_nodes() == written.report.nodes_flat
    parameters = {n: tuple(p.shape) for n, p in written.unet.named_parameters()}
    stored = {
        name: tuple(value.const_value.shape)
        for name, value in model.graph.initializers.items()
        if not name.startswith("ints_")
    }
    assert {name: stored.get(name) for name in parameters} == parameters
    assert all(node.metadata_props[meta.ROLE] for node in model.graph)


def test_node_names_are_unique_everywhere(written):
    for path in (written.folded, written.flat):
        model = ir.load(path)
        for graph in _everywhere(model):
            names = [node.name for node in graph]
            assert len(set(names)) == len(names)
            values = [value.name for node in graph for value in node.outputs]
            assert len(set(values)) == len(values)
