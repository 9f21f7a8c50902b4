"""``--optimize ort``: a second file in ONNX Runtime's own operators, proven like the first."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
import pytest

import exporter.variant
from exporter.errors import ParityError, TargetError, UsageError
from exporter.parity import ask
from exporter.parity.check import check
from exporter.parity.subject import Subject
from exporter.source import load_source
from exporter.variant import make_variant
from tests.exporter.contrib import CUDA_ONLY, spelled_out
from tests.exporter.listing import listing
from viewer.model.atlas import read

ORT = {"optimize": "ort", "provider": "cpu"}
CUDA = {"optimize": "ort", "provider": "cuda", "check": False}


def _own(path: Path) -> dict[str, int]:
    graph = onnx.load(path, load_external_data=False).graph
    return dict(Counter(n.op_type for n in graph.node if n.domain == "com.microsoft"))


def _facts(path: Path) -> dict[str, Any]:
    entries = onnx.load(path, load_external_data=False).metadata_props
    return {
        e.key: json.loads(e.value) if e.value.startswith("{") else e.value for e in entries
    }


@pytest.fixture
def questions(monkeypatch):
    """Grows by one whenever PyTorch is asked."""
    asked, original = [], ask.ask
    monkeypatch.setattr(
        ask, "ask", lambda *args, **more: asked.append(1) or original(*args, **more)
    )
    return asked


def test_both_files_are_proven_and_share_their_weights(workshop, linked, questions):
    before = set(listing(linked))
    report = workshop.export(linked / "unet.onnx", linked, check=True, **ORT)
    variant = report.variant

    assert set(listing(linked)) == before | {"unet.onnx", "unet.ort.onnx"}
    assert variant.target == linked / "unet.ort.onnx"
    assert report.parity.passed
    assert variant.parity.passed
    assert len(questions) == 1
    assert _own(report.target) == {}
    assert _own(variant.target) == dict(variant.fusions)
    assert set(variant.fusions) == {
        "MultiHeadAttention", "QuickGelu", "SkipLayerNormalization",
    }  # fmt: skip
    assert variant.fusions["MultiHeadAttention"] == 8
    facts = _facts(variant.target)
    assert facts["atlas.variant"] == "ort"
    assert facts["atlas.variant.ort"]["fusions"] == dict(variant.fusions)
    assert facts["atlas.variant.ort"]["provider"] == "cpu"
    assert facts["atlas.parity"]["verdict"] == "passed"
    assert "atlas.variant" not in _facts(report.target)
    assert json.loads(json.dumps(report.to_json()))["variant"]["parity"]["verdict"] == "passed"


def test_the_command_line_says_what_was_fused(workshop, linked, capfd):
    arguments = ("--model", linked, "--optimize", "ort", "--provider", "cuda", "--no-check")
    assert workshop.main(linked / "unet.onnx", *arguments) == 0
    out = " ".join(capfd.readouterr().out.split())
    assert "unet.ort.onnx" in out
    assert "for cuda" in out


@pytest.mark.parametrize("weights", ["link", "packed"])
@pytest.mark.parametrize("existing", [False, True])
def test_a_wrong_variant_leaves_nothing(workshop, linked, monkeypatch, weights, existing):
    wishes = {**ORT, "weights": weights}
    if existing:
        workshop.export(linked / "unet.onnx", linked, **wishes)
    before = listing(linked)

    def wrong_bias(*arguments):
        variant = make_variant(*arguments)
        graph = variant.model.graph
        biases = {value.name: value for value in graph.inputs}
        conv = next(node for node in graph if node.name == "conv_in/Conv")
        conv.replace_input_with(2, biases["down_blocks.0.resnets.0.conv1.bias"])
        return variant

    monkeypatch.setattr(exporter.variant, "make_variant", wrong_bias)
    with pytest.raises(ParityError, match=r"unet\.ort\.onnx differs from PyTorch"):
        workshop.export(linked / "unet.onnx", linked, check=True, **wishes)
    assert listing(linked) == before


def test_a_strangers_file_is_not_replaced(workshop, linked):
    (linked / "unet.ort.onnx").write_bytes(b"mine")
    with pytest.raises(TargetError, match="which no export wrote"):
        workshop.export(linked / "unet.onnx", linked, **ORT)
    workshop.export(linked / "unet.onnx", linked)
    assert (linked / "unet.ort.onnx").read_bytes() == b"mine"


def test_no_variant_is_left_with_other_weights(workshop, linked):
    target = linked / "unet.onnx"
    workshop.export(target, linked, weights="copy", **ORT)
    with pytest.raises(TargetError, match="reads the weights that this export replaces"):
        workshop.export(target, linked, weights="copy")
    workshop.export(target, linked, weights="copy", **ORT)


@pytest.mark.parametrize(
    ("wishes", "complaint"),
    [
        ({"opset": 22}, r"--optimize ort with --opset 22; expected 23 or 24"),
        ({"dtype": "bf16"}, r"--optimize ort with --dtype bf16; expected fp32 or fp16"),
    ],
)
def test_what_has_no_variant_is_refused(workshop, linked, wishes, complaint):
    before = listing(linked)
    with pytest.raises(UsageError, match=complaint):
        workshop.export(linked / "unet.onnx", linked, **ORT, **wishes)
    assert listing(linked) == before


# For CUDA: nothing here runs these files, so each operator is spelled out in standard ones


@pytest.mark.parametrize("dtype", ["fp32", "fp16"])
def test_what_the_cuda_form_means_is_proven(workshop, tmp_path, dtype):
    target = tmp_path / "unet.onnx"
    wishes = {**CUDA, "weights": "copy", "dtype": dtype}
    report = workshop.export(target, workshop.pipeline("wide"), **wishes)
    variant = report.variant
    own = _own(variant.target)
    assert own == dict(variant.fusions)
    assert set(own) >= {*CUDA_ONLY, "MultiHeadAttention", "SkipLayerNormalization"}
    graph = onnx.load(variant.target, load_external_data=False).graph
    assert {"Attention", "Conv", "GroupNormalization"}.isdisjoint(
        node.op_type for node in graph.node
    )
    inputs = [(value.name, value.type.tensor_type.elem_type) for value in graph.input]
    portable = onnx.load(target, load_external_data=False).graph
    assert inputs == [(v.name, v.type.tensor_type.elem_type) for v in portable.input]

    model = spelled_out(ir.load(variant.target))
    ir.external_data.set_base_dir(model.graph, tmp_path)
    ir.save(model, tmp_path / "spelled.onnx")
    source = load_source(str(workshop.pipeline("wide")))
    proof = check(tmp_path / "spelled.onnx", Subject(source, dtype, provider="cpu"))
    assert proof.passed, proof.worst.verdict


def test_kernels_that_refuse_small_widths_are_not_asked(workshop):
    graph = workshop.graph("micro")
    variant = make_variant(graph.model, "cuda", graph.parameters)
    for node in variant.model.graph:
        if node.op_type == "NhwcConv":
            module = node.metadata_props["atlas.module"]
            assert node.name == f"{module}/NhwcConv"
            assert node.inputs[2].name == f"{module}.bias"
    assert {"BiasSplitGelu", "BiasAdd"}.isdisjoint(variant.fusions)
    convs = sum(node.op_type == "Conv" for node in graph.model.graph)
    norms = sum(node.op_type == "GroupNormalization" for node in graph.model.graph)
    assert variant.fusions["NhwcConv"] == convs
    fused = variant.fusions["GroupNorm"] + variant.fusions["SkipGroupNorm"]
    assert fused == norms
    assert variant.model.opset_imports[""] == 20


@pytest.mark.parametrize("provider", ["cpu", "cuda"])
@pytest.mark.parametrize("name", ["micro", "tiny-xl", "ddpm", "added-kv", "resnet-steps"])
def test_every_node_says_where_it_is_from(workshop, name, provider):
    graph = workshop.graph(name)
    names = {value.name for value in graph.model.graph.inputs}
    variant = make_variant(graph.model, provider, graph.parameters).model.graph
    assert {value.name for value in variant.inputs} == names
    assert len({node.name for node in variant}) == variant.num_nodes()
    for node in variant:
        assert {"atlas.module", "atlas.class", "atlas.role"} <= set(node.metadata_props)
    skips = [n for n in variant if n.metadata_props.get("atlas.skip_end") == "sink"]
    assert len(skips) == graph.roles.skip


@pytest.mark.parametrize("wishes", [{**ORT, "check": False}, CUDA])
def test_the_viewer_finds_in_it_what_it_finds_in_the_other(workshop, linked, wishes):
    report = workshop.export(linked / "unet.onnx", linked, flat=True, **wishes)
    portable, variant = read(report.target), read(report.variant.target)
    assert not [line for line in variant.missing if "have no shape" in line]
    assert variant.blocks
    for part in ("skips", "injections", "attentions"):
        assert len(getattr(variant, part)) == len(getattr(portable, part)), part
    assert variant.metadata["atlas.variant"] == "ort"
    json.dumps(variant.to_json())
