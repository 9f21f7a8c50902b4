"""Sampler files: what is in them, what is refused, and what the command line says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

import viewer
from exporter import metadata as meta
from exporter.cli import main
from exporter.errors import ConfigError, TargetError, UsageError
from exporter.runtime.session import open_session
from exporter.sampler.make import make_sampler
from exporter.sampler.plan import SamplerRequest
from exporter.sampler.proof import prove
from exporter.sampler.setup import Case, make_setup
from exporter.targets import EXPORT_REPORT, ONNX
from viewer.serve.shown import Shown

ROOT = Path(__file__).parents[3]


def test_the_file_is_small_linked_and_standard(made: Any, unet_file: Any) -> None:
    path, _ = made("ddim")
    model = onnx.load(path, load_external_data=False)
    assert path.stat().st_size < unet_file().stat().st_size + 200_000
    assert list(path.parent.glob("*.safetensors")) == [path.parent / "unet.safetensors"]
    domains = {entry.domain for entry in model.opset_import}
    assert all(d in ("", "sampler") or d.startswith("unet") for d in domains)
    assert [v.name for v in model.graph.input] == [
        "latents",
        "prompt_embeds",
        "negative_prompt_embeds",
        "guidance_scale",
        "guidance_rescale",
        "num_inference_steps",
    ]
    assert len(model.graph.node) < 30


def test_every_node_knows_role_and_line_and_every_value_its_shape(made: Any) -> None:
    path, _ = made("dpm++")
    model = onnx.load(path, load_external_data=False)
    loop = next(node for node in model.graph.node if node.op_type == "Loop")
    body = next(a.g for a in loop.attribute if a.name == "body")
    shaped = {v.name for v in (*body.value_info, *body.output, *body.input)}
    for node in body.node:
        assert set(node.output) <= shaped, node.name
    own = [f for f in model.functions if f.domain == "sampler"]
    roles = set()
    for node in (*model.graph.node, *body.node, *(n for f in own for n in f.node)):
        props = {p.key: p.value for p in node.metadata_props}
        if node.op_type == "Constant":
            continue
        assert props[meta.SOURCE].startswith("diffusers/"), node.name
        assert int(props[meta.SOURCE].rpartition(":")[2]) > 1
        roles.add(props[meta.ROLE])
    assert roles == set(meta.SAMPLER_ROLES)


def test_guidance_rescale_is_the_pipelines(made: Any, unet_file: Any) -> None:
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import (
        rescale_noise_cfg,
    )

    path, plan = made("euler")
    setup = make_setup(plan, Case(1, batch=2))
    ours = open_session(path, "cpu").run(
        {**setup.feeds, "guidance_rescale": torch.tensor(0.7)}
    )
    latents, _ = setup.loop.first_latents()
    scheduler = setup.loop.scheduler
    t = scheduler.timesteps[0]
    scaled = scheduler.scale_model_input(torch.cat([latents, latents]), t)
    fed = {**setup.loop.conditions, "sample": scaled, "timestep": t.reshape(1)}
    predicted = torch.from_numpy(open_session(unet_file(), "cpu").run(fed)["out_sample"])
    without, wanted = predicted.chunk(2)
    guided = rescale_noise_cfg(without + 7.5 * (wanted - without), wanted, 0.7)
    expected = scheduler.step(guided, t, latents).prev_sample
    np.testing.assert_allclose(ours["out_latents"], expected.numpy(), rtol=1e-5, atol=1e-4)


@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")  # log of the last sigma
@pytest.mark.parametrize("name", ["ddim", "dpm++-karras"])
def test_the_reference_evaluator_agrees(name: str, made: Any, unet_file: Any) -> None:
    path, plan = made(name, keep_steps=False)
    setup = make_setup(plan, Case(2, height=8, width=8, tokens=3))
    names = {spec.name for spec in onnx.load(path, load_external_data=False).graph.input}
    feeds = {k: v.numpy() for k, v in setup.feeds.items() if k in names}
    model = onnx.load(path, load_external_data=False)
    _inline(model, path.parent)
    theirs = ReferenceEvaluator(model).run(["out_latents"], feeds)[0]
    ours = open_session(path, "cpu").run(setup.feeds)["out_latents"]
    np.testing.assert_allclose(theirs, ours, rtol=1e-3, atol=1e-4)


def _inline(model: onnx.ModelProto, folder: Path) -> None:
    """The evaluator does not look for external data inside functions."""
    for function in model.functions:
        for attribute in (a for node in function.node for a in node.attribute):
            if attribute.t.data_location == onnx.TensorProto.EXTERNAL:
                onnx.external_data_helper.load_external_data_for_tensor(
                    attribute.t, str(folder)
                )
                array = numpy_helper.to_array(attribute.t)
                attribute.t.CopyFrom(numpy_helper.from_array(array, attribute.t.name))


@pytest.mark.parametrize("unet", ["tiny-xl", "ddpm", "text-in-attn1"])
def test_other_unets(unet: str, made: Any) -> None:
    path, plan = made("euler", unet)
    proof = prove(path, plan, (Case(2, batch=2), Case(3)))
    assert proof.passed, proof.worst


def test_an_inpainting_unet(made: Any, unet_file: Any, save_unet: Any, tmp_path: Path) -> None:
    from exporter.pipeline import export
    from exporter.types import ExportRequest

    save_unet(tmp_path / "p" / "unet", in_channels=9)
    target = tmp_path / "unet.onnx"
    export(ExportRequest(target, str(tmp_path / "p"), check=False))
    path, plan = made("ddim", unet_file=target)
    proof = prove(path, plan, (Case(2, batch=2),))
    assert proof.passed, proof.worst


def test_the_example_in_the_documentation_runs(
    made: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    path, _ = made("ddim", keep_steps=False)
    shutil.copy(path, tmp_path / "unet.sampler.onnx")
    shutil.copy(path.with_name("unet.safetensors"), tmp_path)
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "SAMPLING.md").read_text(encoding="utf-8")
    _, _, code = text.partition("## With ONNX Runtime alone\n```python\n")
    exec(compile(code.partition("```")[0], "SAMPLING.md", "exec"), {})
    assert capsys.readouterr().out.startswith("(1, 4, 24, 32)")


def _copied(unet_file: Any, folder: Path) -> Path:
    for name in ("unet.onnx", "unet.safetensors"):
        shutil.copy(unet_file().with_name(name), folder / name)
    return folder / "unet.onnx"


def test_the_command_line_makes_and_proves_it(
    unet_file: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unet, target = _copied(unet_file, tmp_path), tmp_path / "unet.sampler.onnx"
    report = tmp_path / "report.json"
    arguments = [
        str(target),
        "--from",
        str(unet),
        "--sampler",
        "euler",
        "--report",
        str(report),
    ]
    assert main(arguments) == 0
    assert "EulerDiscreteScheduler" in capsys.readouterr().out
    props = {
        p.key: p.value for p in onnx.load(target, load_external_data=False).metadata_props
    }
    assert json.loads(props["atlas.sampler"])["scheduler"] == "EulerDiscreteScheduler"
    assert json.loads(props["atlas.sampler.parity"])["verdict"] == "passed"
    assert json.loads(report.read_text())["parity"]["verdict"] == "passed"
    shown = Shown((viewer.load(target),), json.loads(report.read_text()))
    assert (shown.models[0].standing.text, shown.standing.text) == ("proven", "proven")
    model = onnx.load(target, load_external_data=False)
    model.graph.node[0].op_type = "Neg"
    target.write_bytes(model.SerializeToString())
    changed = viewer.load(target).standing.text
    assert changed == "claimed, and the graph was changed since"
    assert EXPORT_REPORT.holds(report)  # so that it may be written again
    assert ONNX.holds(target)
    assert main([str(tmp_path / "x.onnx"), "--from", str(target), "--sampler", "ddim"]) == 2
    assert "is a sampler" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "report.json",
        "unet.onnx",
        "unet.safetensors",
        "unet.sampler.onnx",
    ]


def test_an_export_with_a_sampler_reads_the_pipelines_config(
    save_unet: Any, save_config: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "pipeline"
    save_unet(root / "unet")
    save_config({"prediction_type": "v_prediction"}).joinpath("scheduler_config.json").rename(
        root / "scheduler_config.json"
    )
    target = tmp_path / "elsewhere" / "unet.onnx"
    target.parent.mkdir()
    arguments = [str(target), "--model", str(root), "--no-check", "--sampler", "ddim"]
    assert main(arguments) == 0
    model = onnx.load(target.with_name("unet.sampler.onnx"), load_external_data=False)
    props = {p.key: p.value for p in model.metadata_props}
    assert json.loads(props["atlas.sampler"])["config"]["prediction_type"] == "v_prediction"
    assert json.loads(props["atlas.sampler.parity"])["verdict"] == "skipped"
    capsys.readouterr()
    assert main([*arguments[:-1], "heun"]) == 2  # before the export
    assert "HeunDiscreteScheduler as a graph" in capsys.readouterr().err
    scheduler = ["--scheduler", str(root), "--prediction", "epsilon"]
    assert main([*arguments, *scheduler]) == 2
    assert "has prediction_type v_prediction; expected epsilon" in capsys.readouterr().err
    assert main([*arguments, "--all", str(tmp_path)]) == 2
    assert "--sampler with --all" in capsys.readouterr().err


def test_a_failed_proof_leaves_the_target_as_it_was(
    unet_file: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from exporter.sampler.euler import Euler

    right = Euler.step

    def wrong(self: Euler, model_output: Any, *rest: Any) -> Any:
        return right(self, model_output * 1.01, *rest)

    monkeypatch.setattr(Euler, "step", wrong)
    unet = _copied(unet_file, tmp_path)
    target = tmp_path / "unet.sampler.onnx"
    with pytest.raises(Exception, match="first departs in the scheduler_step of step 0"):
        make_sampler(SamplerRequest(target, unet, "euler"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["unet.onnx", "unet.safetensors"]


def test_refusals(unet_file: Any, tmp_path: Path) -> None:
    unet = _copied(unet_file, tmp_path)
    other = tmp_path / "other.onnx"
    shutil.copy(unet, other)
    with pytest.raises(TargetError, match="would replace"):
        make_sampler(SamplerRequest(other, unet, "ddim"))
    with pytest.raises(TargetError, match="the UNet's own file"):
        make_sampler(SamplerRequest(unet, unet, "ddim"))
    (tmp_path / "below").mkdir()
    with pytest.raises(TargetError, match="beside the UNet"):
        make_sampler(SamplerRequest(tmp_path / "below" / "s.onnx", unet, "ddim"))
    with pytest.raises(UsageError, match="scheduler 'nonsense'"):
        make_sampler(SamplerRequest(tmp_path / "s.onnx", unet, "nonsense"))
    model = onnx.load(unet, load_external_data=False)
    model.metadata_props.add(key="atlas.prediction", value="v_prediction")
    onnx.save(model, other)
    (tmp_path / "scheduler_config.json").write_text('{"prediction_type": "epsilon"}')
    with pytest.raises(
        ConfigError, match="has prediction_type epsilon; expected v_prediction"
    ):
        make_sampler(SamplerRequest(tmp_path / "s.onnx", other, "ddim", scheduler=tmp_path))
    (tmp_path / "scheduler_config.json").unlink()
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 8
    onnx.save(model, other)
    with pytest.raises(ConfigError, match="takes 4 channels and gives out 8"):
        make_sampler(SamplerRequest(tmp_path / "s.onnx", other, "ddim"))
    del model.graph.input[:]
    onnx.save(model, other)
    with pytest.raises(UsageError, match="a UNet's"):
        make_sampler(SamplerRequest(tmp_path / "s.onnx", other, "ddim"))
    assert main([str(tmp_path / "s.onnx"), "--from", str(unet)]) == 2
