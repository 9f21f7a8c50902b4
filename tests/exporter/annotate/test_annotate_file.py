"""Files by other exporters: annotated by what their edges do, computing the same bits."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper
from onnxruntime.transformers.float16 import convert_float_to_float16

import exporter.annotate.make as make
from exporter.annotate.cli import main
from exporter.annotate.make import AnnotateReport, AnnotateRequest, annotate_file
from exporter.annotate.same import require_same
from exporter.errors import ParityError, TargetError, UsageError
from exporter.fold import fold
from exporter.parts import parts_of_file
from tests.exporter.annotate import unet
from tests.exporter.conftest import Workshop
from viewer.model.atlas import Atlas, read

Annotated = Callable[[Path], tuple[AnnotateReport, Atlas]]


@pytest.fixture(scope="module")
def openai(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unet.export(tmp_path_factory.mktemp("openai") / "model.onnx", dynamo=False)


@pytest.fixture
def annotated(tmp_path: Path) -> Annotated:
    def run(source: Path) -> tuple[AnnotateReport, Atlas]:
        report = annotate_file(AnnotateRequest(source, tmp_path / "out.onnx", provider="cpu"))
        return report, read(report.target)

    return run


def test_roles_are_those_of_our_own_export(
    foreign: Path, workshop: Workshop, annotated: Annotated
) -> None:
    report, atlas = annotated(foreign)
    assert report.roles == workshop.graph("tiny").roles
    assert report.same == "bits"
    ours = read(workshop.exported("tiny"))
    for part in ("skips", "attentions", "injections"):
        assert len(getattr(atlas, part)) == len(getattr(ours, part)), part
    assert [(b.kind, b.level, b.shape) for b in atlas.blocks if b.kind in ("down", "up")] == [
        (b.kind, b.level, b.shape) for b in ours.blocks if b.kind in ("down", "up")
    ]
    assert [s.shape for s in atlas.skips] == [s.shape for s in ours.skips]
    assert 0.99 * ours.params < atlas.params <= ours.params  # equal weights are stored once
    assert not [line for line in atlas.missing if "have no shape" in line]


def test_a_unet_of_other_names_is_known_by_what_it_does(
    openai: Path, annotated: Annotated
) -> None:
    report, atlas = annotated(openai)
    assert report.inputs == {
        "sample": "x", "timestep": "timesteps", "encoder_hidden_states": "context",
    }  # fmt: skip
    roles = report.roles
    assert (roles.cross_attention, roles.self_attention, roles.skip) == (3, 3, 4)
    assert (roles.resnet, roles.downsample, roles.upsample) == (8, 1, 1)
    assert [value.name for value in ir.load(report.target).graph.inputs] == unet.NAMES
    sides = [(b.kind, len(b.parts)) for b in atlas.blocks if b.kind in ("down", "mid", "up")]
    assert ("mid", 4) in sides
    assert {a.sources[1] for a in atlas.attentions} == {
        ("context",),
        ("x", "timesteps"),
        ("x", "timesteps", "context"),
    }
    assert {a.role for a in atlas.attentions} == {"self_attention", "cross_attention"}


def test_torchs_newer_exporter_tells_classes(tmp_path: Path, annotated: Annotated) -> None:
    report, atlas = annotated(unet.export(tmp_path / "dynamo.onnx", dynamo=True))
    assert report.functions > 10
    assert report.roles.skip == 4
    classes = {node.metadata.get("atlas.class", "") for node in atlas.tree.nodes}
    assert f"{unet.__name__}.Residual" in classes
    assert atlas.skips[1].shape == (  # of an axis that the file calls 2*h
        "B", unet.CHANNELS, "H", "W",
    )  # fmt: skip


def test_a_file_without_names_still_has_a_u(
    openai: Path, tmp_path: Path, annotated: Annotated
) -> None:
    report, atlas = annotated(unet.nameless(openai, tmp_path / "bare.onnx"))
    assert report.roles.skip == 4
    assert report.roles.resnet == 8
    kinds = {block.kind for block in atlas.blocks}
    assert {"down", "mid", "up", "conv_in", "conv_out"} <= kinds
    assert any("tell no module" in remark for remark in report.remarks)


def test_a_copy_that_computes_other_bits_is_not_written(
    openai: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(model: ir.Model, classes: Any) -> int:
        roles = {node: node.metadata_props["atlas.role"] for node in model.graph}
        next(node for node in roles if roles[node] == "time_injection").op_type = "Sub"
        return fold(model, classes)

    monkeypatch.setattr(make, "fold", wrong)
    request = AnnotateRequest(openai, tmp_path / "out.onnx", provider="cpu")
    with pytest.raises(ParityError, match=r"computes something else than model\.onnx"):
        annotate_file(request)
    assert not list(tmp_path.iterdir())


def test_one_wrong_weight_is_seen(openai: Path, tmp_path: Path) -> None:
    model = onnx.load(openai)
    weight = next(t for t in model.graph.initializer if t.name == "out.2.bias")
    weight.raw_data = b"\x01" + weight.raw_data[1:]
    onnx.save(model, tmp_path / "other.onnx")
    assert require_same(openai, openai, "cpu") == "bits"
    with pytest.raises(ParityError, match="the same bits"):
        require_same(openai, tmp_path / "other.onnx", "cpu")


def test_half_types_are_compared_as_expressions(openai: Path, tmp_path: Path) -> None:
    half = convert_float_to_float16(onnx.load(openai), keep_io_types=True)
    onnx.save(half, tmp_path / "half.onnx")
    request = AnnotateRequest(tmp_path / "half.onnx", tmp_path / "out.onnx", provider="cpu")
    assert annotate_file(request).same == "operators"


def test_an_input_that_tells_nothing_is_named_by_the_user(
    openai: Path, tmp_path: Path
) -> None:
    model = onnx.load(openai)
    extra = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4, "h", "w"])
    model.graph.input.append(extra)
    conv = next(node for node in model.graph.node if node.op_type == "Conv")
    conv.input[0] = "both"
    model.graph.node.insert(0, helper.make_node("Add", ["x", "y"], ["both"]))
    two = tmp_path / "two.onnx"
    onnx.save(model, two)
    with pytest.raises(UsageError, match=r"2 inputs could be sample \(x, y\)"):
        annotate_file(AnnotateRequest(two, tmp_path / "out.onnx"))
    wishes = {"x": "sample"}
    report = annotate_file(AnnotateRequest(two, tmp_path / "out.onnx", wishes, check=False))
    assert report.inputs["sample"] == "x"
    assert "nothing tells what these inputs are: y" in report.remarks
    with pytest.raises(UsageError, match="--input z=sample"):
        annotate_file(AnnotateRequest(two, tmp_path / "out.onnx", {"z": "sample"}))
    with pytest.raises(UsageError, match="--input x=image"):
        annotate_file(AnnotateRequest(two, tmp_path / "out.onnx", {"x": "image"}))


def test_weights_stay_where_they_are(openai: Path, tmp_path: Path) -> None:
    (tmp_path / "unet").mkdir()
    source = tmp_path / "unet" / "model.onnx"
    model = onnx.load(openai)
    onnx.save(model, source, save_as_external_data=True, location="w.bin", size_threshold=64)
    report = annotate_file(AnnotateRequest(source, tmp_path / "out.onnx", provider="cpu"))
    assert report.same == "bits"
    linked = {str(path) for what, path in parts_of_file(report.target) if "weights" in what}
    assert linked == {str(source.with_name("w.bin"))}
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(TargetError, match="beside or above"):
        annotate_file(AnnotateRequest(source, tmp_path / "elsewhere" / "out.onnx"))


def test_the_command(openai: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    shutil.copy(openai, tmp_path / "a.onnx")
    wanted = [str(tmp_path / "a.onnx"), str(tmp_path / "b.onnx"), "--provider", "cpu"]
    assert main([*wanted, "--report", str(tmp_path / "r.json")]) == 0
    told = capfd.readouterr().out
    assert "the same bits" in told
    assert "x = sample" in told
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["same"] == "bits"
    assert report["roles"]["skip"] == 4
    assert main([str(tmp_path / "b.onnx"), str(tmp_path / "c.onnx")]) == 2
    assert main([*wanted, "--input", "x"]) == 2
    lines = capfd.readouterr().err.strip().splitlines()
    assert [line[:40] for line in lines if "annotated already" in line]
    assert "such as noisy=sample" in lines[-1]
    assert not (tmp_path / "c.onnx").exists()


def test_what_is_no_unet_is_refused(tmp_path: Path) -> None:
    image = ["n", 4, "h", "w"]
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["y"]),
            helper.make_node("Sin", ["t"], ["s"]),
            helper.make_node("Div", ["y", "s"], ["z"]),
        ],
        "g",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, image),
            helper.make_tensor_value_info("t", TensorProto.FLOAT, [1]),
        ],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, image)],
        [helper.make_tensor("w", TensorProto.FLOAT, [4, 4, 1, 1], [0.5] * 16)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "plain.onnx")
    with pytest.raises(UsageError, match="no skip crosses"):
        annotate_file(AnnotateRequest(tmp_path / "plain.onnx", tmp_path / "out.onnx"))
