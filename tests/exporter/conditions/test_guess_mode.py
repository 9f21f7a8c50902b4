"""Guess mode in the graph: as diffusers' pipeline runs a ControlNet on half of the batch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import onnx_ir as ir
import pytest
import torch

from exporter.cli import main
from exporter.conditions.controlnet import COND, SCALE, is_control
from exporter.conditions.residuals import MIDDLE, SKIPS
from exporter.parity.cases import ParityCase
from exporter.parity.check import check
from exporter.parity.inputs import make_inputs
from exporter.parity.locate import locate
from exporter.parity.subject import Subject
from exporter.runtime.session import open_session
from exporter.source import load_source, with_controlnets
from exporter.types import Source
from tests.exporter.conditions.test_controlnet import randomised
from tests.exporter.parity import edits

CASE = ParityCase(2, 9, 8, 5, 20.5)
KINDS = {"images": False, "pooled": True}


@dataclass(frozen=True)
class Files:
    """A UNet with one net in guess mode, and the same net by itself."""

    path: Path
    source: Source

    @property
    def unet(self) -> Any:
        return diffusers.UNet2DConditionModel.from_pretrained(self.path.parent / "unet")

    @property
    def net(self) -> Any:
        return diffusers.ControlNetModel.from_pretrained(self.path.parent / "net")

    def inputs(self, *strengths: float) -> dict[str, torch.Tensor]:
        made = make_inputs(CASE, self.source, "fp32")
        return {**made, f"{SCALE}0": torch.tensor(strengths)}


@pytest.fixture(scope="module", params=KINDS)
def files(workshop: Any, tmp_path_factory: pytest.TempPathFactory, request: Any) -> Files:
    root = tmp_path_factory.mktemp(request.param) / "micro"
    workshop.save_as(root / "unet", "micro", layers_per_block=1)
    unet = diffusers.UNet2DConditionModel.from_pretrained(root / "unet")
    net = randomised(unet, (4, 8, 8, 16), 7)
    net.register_to_config(global_pool_conditions=KINDS[request.param])
    net.save_pretrained(root / "net")
    nets = (str(root / "net"),)
    workshop.export(root / "guess.onnx", root, controlnets=nets, guess_mode=True)
    source = with_controlnets(load_source(str(root)), nets, guess_mode=True)
    return Files(root / "guess.onnx", source)


def test_it_is_what_a_pipeline_computes(files: Files) -> None:
    """``StableDiffusionControlNetPipeline`` with guidance: zeros for the half without text."""
    inputs = files.inputs(0.0, 0.8)
    own = {name: tensor for name, tensor in inputs.items() if not is_control(name)}
    with torch.no_grad():
        skips, middle = files.net(
            **{k: v[1:] if v.shape[0] == 2 else v for k, v in own.items()},
            controlnet_cond=inputs[f"{COND}0"][1:],
            conditioning_scale=0.8,
            guess_mode=True,
            return_dict=False,
        )
        halves = [torch.cat([torch.zeros_like(one), one]) for one in (*skips, middle)]
        given = {SKIPS: halves[:-1], MIDDLE: halves[-1]}
        reference = files.unet(**own, **given, return_dict=False)[0].numpy()
        plain = files.unet(**own, return_dict=False)[0].numpy()
    ours = open_session(files.path, "cpu").run(inputs)["out_sample"]
    assert np.abs(reference[1] - plain[1]).max() > 1e-2
    assert np.abs(ours - reference).max() < 1e-5


def test_file_is_proven_and_one_that_exchanges_two_skips_is_not(files: Files) -> None:
    subject = Subject(files.source, "fp32", provider="cpu")
    assert check(files.path, subject, cases=[CASE]).passed

    def exchange(model: ir.Model) -> None:
        first, second = (
            next(n for n in model.graph if n.name == f"controlnet_residual_{index}/Add")
            for index in range(2)
        )
        (a,), (b,) = (
            [i for i, value in enumerate(n.inputs) if _scaled(value)] for n in (first, second)
        )
        value = first.inputs[a]
        first.replace_input_with(a, second.inputs[b])
        second.replace_input_with(b, value)

    wrong = edits.inject(files.path, files.path.with_name("wrong.onnx"), exchange)
    assert not check(wrong, subject, cases=[CASE]).passed
    finding = locate(wrong, subject, CASE).finding
    assert finding is not None
    assert finding.node.startswith("controlnet_residual_")
    assert finding.role == "condition"


def _scaled(value: ir.Value | None) -> bool:
    node = value.producer() if value is not None else None
    return node is not None and node.op_type == "Mul"


def test_off_is_exactly_off(files: Files, workshop: Any) -> None:
    plain = files.path.with_name("plain.onnx")
    workshop.export(plain, files.path.parent)
    inputs = files.inputs(0.0, 0.0)
    own = {name: tensor for name, tensor in inputs.items() if not is_control(name)}
    expected = open_session(plain, "cpu").run(own)["out_sample"]
    made = open_session(files.path, "cpu").run(inputs)["out_sample"]
    assert made.tobytes() == expected.tobytes()


def test_what_needs_the_other_is_refused(files: Files, tmp_path: Path, capsys: Any) -> None:
    out, model = str(tmp_path / "x.onnx"), str(files.path.parent)
    assert main([out, "--model", model, "--guess-mode"]) == 2
    assert "--guess-mode without --controlnet" in capsys.readouterr().err
    if files.net.config.global_pool_conditions:
        assert main([out, "--model", model, "--controlnet", f"{model}/net"]) == 2
        assert "pools its residuals" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
