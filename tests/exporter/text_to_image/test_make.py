"""Text-to-image files: what is in them, that they paint as diffusers does, what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

import viewer
from exporter import metadata as meta
from exporter.cli import main
from exporter.errors import AtlasError
from exporter.runtime.session import open_session
from exporter.text_to_image.inside import locate_inside
from exporter.text_to_image.locate import probe
from exporter.text_to_image.plan import PictureRequest, make_plan
from exporter.text_to_image.proof import CASES, Case, make_setup, prove
from exporter.text_to_image.store import attach_as
from exporter.types import TensorSpec
from tests.exporter.text_to_image import faults
from viewer.serve.shown import Shown

SMALL = Case(2, height=8, width=8)


@pytest.mark.parametrize("kind", ["sd", "sd2", "xl"])
def test_it_paints_as_diffusers_does(kind: str, picture: Any) -> None:
    path, plan = picture(kind)
    proof = prove(path, plan, CASES if kind == "xl" else CASES[:2])
    assert proof.passed, proof.worst
    assert all(one.max_abs < 1e-4 for one in proof.found)


def test_half_precision_is_linked_and_paints_as_diffusers_does(picture: Any) -> None:
    """SDXL's VAE is computed in float32 from its float16 weights, as the pipeline does."""
    path, plan = picture("xl16")
    assert plan.dtype == "fp16"
    assert not list(path.parent.glob("*.safetensors"))
    proof = prove(path, plan, CASES[:1])
    assert proof.passed, proof.worst
    model = onnx.load(path, load_external_data=False)
    inside = [n for f in model.functions if f.domain.split(".")[0] == "vae" for n in f.node]
    stored = [a.t for n in inside for a in n.attribute if a.t.external_data]
    assert {tensor.data_type for tensor in stored} == {onnx.TensorProto.FLOAT16}
    assert sum(n.op_type == "Cast" for n in inside) >= len(stored)


@pytest.mark.parametrize("kind", ["sd", "xl16"])
def test_nothing_is_named_in_a_loop_that_is_right(kind: str, picture: Any) -> None:
    path, plan = picture(kind)
    setup = make_setup(plan, SMALL)
    seen = open_session(
        probe(path).SerializeToString(), "cpu", weights_folder=path.parent
    ).run(setup.feeds)
    given = {name.removeprefix("probe."): value for name, value in seen.items()}
    found = locate_inside(path, given, setup, plan)
    assert str(found) == "no part departs alone"


@pytest.mark.parametrize("sampler", ["euler-a", "ddim"])
def test_another_scheduler(sampler: str, picture: Any) -> None:
    path, plan = picture("sd", sampler=sampler)
    proof = prove(path, plan, (Case(3, batch=2, height=8, width=8),))
    assert proof.passed, proof.worst


def test_the_file_is_small_linked_and_standard(picture: Any, pipelines: Any) -> None:
    path, _ = picture("xl")
    model = onnx.load(path, load_external_data=False)
    assert path.stat().st_size < 1_000_000
    assert not list(path.parent.glob("*.safetensors"))
    files = {
        entry.value
        for f in model.functions
        for node in f.node
        for a in node.attribute
        for entry in a.t.external_data
        if entry.key == "location"
    }
    assert files == {
        "text_encoder/model.safetensors",
        "text_encoder_2/model.safetensors",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
    }
    own = {f.domain for f in model.functions}
    assert {entry.domain for entry in model.opset_import} == {"", *own}
    assert [v.name for v in model.graph.input] == [
        "input_ids",
        "input_ids_2",
        "negative_input_ids",
        "negative_input_ids_2",
        "zero_negative",
        "latents",
        "guidance_scale",
        "guidance_rescale",
        "num_inference_steps",
    ]
    assert [v.name for v in model.graph.output] == ["image"]


def _of_another_scheduler(path: Path) -> Path:
    model = onnx.load(path, load_external_data=False)
    (said,) = (entry for entry in model.metadata_props if entry.key == "atlas.sampler")
    said.value = said.value.replace("EulerDiscrete", "DDIM")
    target = path.with_name(f"wrong-{path.name}")
    onnx.save(model, target)
    return target


def test_it_is_proven_as_long_as_nothing_is_changed(picture: Any, tmp_path: Path) -> None:
    path, _ = picture("sd", check=True)
    shown = viewer.load(path)
    assert shown.standing.text == "proven"
    assert shown.parity == json.loads(shown.metadata["atlas.text_to_image.parity"])
    assert shown.parity["cases"][0]["name"] == SMALL.name
    assert Shown((shown,), {"parity": shown.parity}).standing.proven  # a report's, likewise
    for fault in (faults.unscaled_latents, faults.swapped_halves, _of_another_scheduler):
        changed = viewer.load(fault(path)).standing.text
        assert changed == "claimed, and the graph was changed since", fault
    shutil.copytree(path.parent, tmp_path / "pipeline")
    copy = tmp_path / "pipeline" / path.name
    assert viewer.load(copy).standing.text == "proven"
    with (copy.parent / "vae" / "diffusion_pytorch_model.safetensors").open("ab") as file:
        file.write(b"\0")
    assert viewer.load(copy).standing.text == "claimed, and the weights were changed since"
    assert viewer.load(picture("sd")[0]).standing.text == "skipped"


def test_every_node_says_which_part_it_is_of(picture: Any) -> None:
    path, _ = picture("sd")
    model = onnx.load(path, load_external_data=False)
    roles = {**meta.ROLES, **meta.SAMPLER_ROLES, **meta.PICTURE_ROLES}
    for node in model.graph.node:
        props = {p.key: p.value for p in node.metadata_props}
        if node.op_type != "Constant":
            assert props[meta.SOURCE].startswith("diffusers/"), node.name
            assert props[meta.ROLE] in roles
    for name, package in (("text_encoder", "transformers/"), ("vae", "diffusers/")):
        inside = [f for f in model.functions if f.domain.split(".")[0] == name]
        nodes = [n for f in inside for n in f.node if n.op_type != "Constant"]
        assert len(nodes) > 20
        for node in nodes:
            props = {p.key: p.value for p in node.metadata_props}
            assert props[meta.MODULE].split(".")[0] == name
            assert props[meta.SOURCE].startswith(package), node.name
    said = {p.key: p.value for p in model.metadata_props}
    parts = json.loads(said["atlas.text_to_image"])["parts"]
    assert {k: v["class"] for k, v in parts.items()} == {
        "text_encoder": "CLIPTextModel",
        "vae": "AutoencoderKL",
    }


def test_no_steps_decode_the_noise(picture: Any) -> None:
    path, plan = picture("sd")
    setup = make_setup(plan, SMALL)
    session = open_session(path, "cpu")
    none = session.run({**setup.feeds, "num_inference_steps": torch.tensor(0)})["image"]
    import diffusers

    vae = diffusers.AutoencoderKL.from_pretrained(
        plan.layout.folder / "vae", low_cpu_mem_usage=False
    )
    with torch.inference_mode():
        pixels = vae.decode(setup.latents / vae.config.scaling_factor, return_dict=False)[0]
    expected = (pixels * 0.5 + 0.5).clamp(0, 1).numpy()
    np.testing.assert_allclose(none, expected, atol=1e-5)
    with pytest.raises(AtlasError, match="num_inference_steps must be 0 to 1000"):
        session.run({**setup.feeds, "num_inference_steps": torch.tensor(-1)})


@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
def test_the_reference_evaluator_agrees(picture: Any) -> None:
    path, plan = picture("sd", sampler="ddim")
    setup = make_setup(plan, Case(1, height=8, width=8))
    model = onnx.load(path, load_external_data=False)
    names = {spec.name for spec in model.graph.input}
    feeds = {k: v.numpy() for k, v in setup.feeds.items() if k in names}
    for attribute in (a for f in model.functions for n in f.node for a in n.attribute):
        if attribute.t.data_location == onnx.TensorProto.EXTERNAL:
            onnx.external_data_helper.load_external_data_for_tensor(
                attribute.t, str(path.parent)
            )
            array = numpy_helper.to_array(attribute.t)
            attribute.t.CopyFrom(numpy_helper.from_array(array, attribute.t.name))
    theirs = ReferenceEvaluator(model).run(["image"], feeds)[0]
    ours = open_session(path, "cpu").run(setup.feeds)["image"]
    np.testing.assert_allclose(theirs, ours, atol=1e-4)


def test_a_tensor_of_another_dtype_is_cast_in_the_graph(tmp_path: Path) -> None:
    """As SDXL's VAE: stored in float16, computed in float32."""
    from safetensors.torch import save_file

    save_file({"w": torch.full((2,), 0.1, dtype=torch.float16)}, tmp_path / "w.safetensors")
    offset = (tmp_path / "w.safetensors").stat().st_size - 4
    model = ir.from_onnx_text(
        '<ir_version: 10, opset_import: ["": 20]> g (float[2] x, float[2] w) => (float[2] y) '
        "{ y = Mul(x, w) }"
    )
    spec = TensorSpec("w", ir.DataType.FLOAT16, (2,), tmp_path / "w.safetensors", offset, 4)
    attach_as(model, {"w": spec}, tmp_path, ["w"])
    ir.save(model, tmp_path / "m.onnx")
    onnx.checker.check_model(str(tmp_path / "m.onnx"), full_check=True)
    found = open_session(tmp_path / "m.onnx", "cpu").run({"x": torch.ones(2)})["y"]
    np.testing.assert_array_equal(found, np.full(2, np.float16(0.1)).astype(np.float32))


def test_the_command_line(
    pipelines: Any,
    workshop: Any,
    tmp_path: Path,
    capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import exporter.text_to_image.make as module

    monkeypatch.setattr(module, "build", workshop._build)
    target, report = tmp_path / "image.onnx", tmp_path / "report.json"
    arguments = [str(target), "--pipeline", str(pipelines["sd"]), "--weights", "copy"]
    monkeypatch.setattr(module, "prove", lambda *_, **__: _failed())
    assert main(arguments) == 1
    assert "noise floors" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert main([*arguments, "--no-check", "--report", str(report)]) == 0
    assert "not checked" in capsys.readouterr().out
    assert json.loads(report.read_text())["pipeline"] == "StableDiffusionPipeline"
    assert {p.name for p in tmp_path.iterdir()} == {
        "image.onnx",
        "image.safetensors",
        "report.json",
    }
    for option in (["--model", "tiny"], ["--flat"], ["--keep-steps"], ["--seed", "1"]):
        assert main([*arguments, *option]) == 2
        assert f"{option[0]} with --pipeline" in capsys.readouterr().err


def _failed() -> Any:
    from exporter.sampler.verdict import Proof
    from exporter.text_to_image.proof import Difference

    return Proof((Difference(SMALL, None, 1.0),), "cpu")


def test_refusals(pipelines: Any, tmp_path: Path) -> None:
    root = tmp_path / "pipeline"
    shutil.copytree(pipelines["sd"], root, ignore=shutil.ignore_patterns("*.onnx"))

    def refused(words: str, **how: Any) -> None:
        request = PictureRequest(tmp_path / "image.onnx", str(root), check=False, **how)
        with pytest.raises(AtlasError, match=words):
            make_plan(request)

    def edit(file: str, **values: Any) -> None:
        place = root / file
        place.write_text(json.dumps({**json.loads(place.read_text()), **values}))

    refused("--opset 19", opset=19)
    refused("link or copy", weights="packed")
    refused("scheduler 'nonsense'", sampler="nonsense")
    refused("HeunDiscreteScheduler as a graph", sampler="heun")
    other = tmp_path / "image.onnx"
    other.write_bytes(b"mine")
    refused("another kind of file")
    other.unlink()
    scheduler = json.loads((root / "scheduler" / "scheduler_config.json").read_text())
    edit("scheduler/scheduler_config.json", prediction_type="sample")
    refused("prediction_type sample")
    edit("scheduler/scheduler_config.json", **scheduler)
    edit("vae/config.json", latent_channels=8)
    refused("does not fit the config|decodes 8")
    edit("vae/config.json", latent_channels=4, _class_name="VQModel")
    refused("VQModel; expected AutoencoderKL")
    edit("vae/config.json", _class_name="AutoencoderKL")
    edit("text_encoder/config.json", hidden_size=32)
    refused("give 32 channels; expected 16")
    edit("text_encoder/config.json", hidden_size=16, architectures=["T5EncoderModel"])
    refused("T5EncoderModel")
    edit("text_encoder/config.json", architectures=["CLIPTextModel"])
    edit("model_index.json", _class_name="FluxPipeline")
    refused("FluxPipeline; expected StableDiffusionPipeline")
    (root / "model_index.json").unlink()
    refused("no model_index.json")
