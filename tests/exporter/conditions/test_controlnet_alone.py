"""A ControlNet by itself: its own outputs, each proven; what it hands on can be seen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import onnx_ir as ir
import pytest
import torch

from exporter import metadata as meta
from exporter.cli import main
from exporter.conditions.controlnet import OWN_MIDDLE, OWN_SCALE, OWN_SKIPS
from exporter.conditions.residuals import MIDDLE, SKIPS
from exporter.parity.cases import ParityCase
from exporter.parity.check import check
from exporter.parity.cli import main as prove
from exporter.parity.inputs import make_inputs
from exporter.parity.locate import locate
from exporter.parity.subject import Subject
from exporter.runtime.session import Session, open_session
from exporter.sample.cli import main as sample
from exporter.source import load_source
from tests.exporter.conditions.test_controlnet import randomised
from tests.exporter.parity import edits
from viewer.cli import main as show
from viewer.model.atlas import read

CASES = [ParityCase(1, 33, 35, 5, 981.0), ParityCase(2, 8, 9, 7, 20.5)]
OUTPUTS = (*(f"{OWN_SKIPS}_{index}" for index in range(4)), OWN_MIDDLE)


@dataclass(frozen=True)
class Files:
    """A ControlNet's file, and that of the UNet that takes what it hands on."""

    folder: Path
    net: Path
    subject: Subject
    session: Session


@pytest.fixture(scope="module")
def files(workshop: Any, tmp_path_factory: pytest.TempPathFactory) -> Files:
    root = tmp_path_factory.mktemp("alone") / "micro"
    workshop.save_as(root / "unet", "micro", layers_per_block=1)
    unet = diffusers.UNet2DConditionModel.from_pretrained(root / "unet")
    randomised(unet, (4, 8, 8, 16), 5).save_pretrained(root / "net")
    workshop.export(root / "net.onnx", root / "net", weights="link")
    subject = Subject(load_source(str(root / "net")), "fp32", provider="cpu")
    return Files(root, root / "net.onnx", subject, open_session(root / "net.onnx", "cpu"))


def test_every_output_is_proven(files: Files) -> None:
    assert files.subject.source.outputs == OUTPUTS
    cases = [*CASES, ParityCase(4, 8, 8, 5, 500.0, per_sample=True, contrast=True)]
    report = check(files.net, files.subject, cases=cases)
    assert [case.verdict for case in report.cases if not case.passed] == []
    assert all(case.output in OUTPUTS for case in report.cases)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_drives_a_unet_as_diffusers_own_net_does(files, workshop, case) -> None:
    target = files.folder / "unet.onnx"
    if not target.exists():
        workshop.export(target, files.folder, conditions=("controlnet",))
    inputs = make_inputs(case, files.subject.source, "fp32")
    made = files.session.run(inputs)
    residuals = {f"{SKIPS}_{i}": torch.tensor(made[f"{OWN_SKIPS}_{i}"]) for i in range(4)}
    residuals[MIDDLE] = torch.tensor(made[OWN_MIDDLE])
    own = {k: v for k, v in inputs.items() if not k.startswith(("control", OWN_SCALE))}
    ours = open_session(target, "cpu").run({**own, **residuals})["out_sample"]
    unet: Any = diffusers.UNet2DConditionModel.from_pretrained(files.folder / "unet")
    net: Any = diffusers.ControlNetModel.from_pretrained(files.folder / "net")
    with torch.no_grad():
        skips, middle = net(
            **{k: v for k, v in inputs.items() if k != OWN_SCALE},
            conditioning_scale=float(inputs[OWN_SCALE]),
            return_dict=False,
        )
        given = {SKIPS: skips, MIDDLE: middle}
        reference = unet(**own, **given, return_dict=False)[0].numpy()
        plain = unet(**own, return_dict=False)[0].numpy()
    assert np.abs(reference - plain).max() > 1e-2
    assert np.abs(ours - reference).max() < 1e-5


def test_off_is_zeros(files: Files) -> None:
    inputs = {**make_inputs(CASES[1], files.subject.source, "fp32")}
    made = files.session.run({**inputs, OWN_SCALE: torch.tensor(0.0)})
    assert list(made) == list(OUTPUTS)
    assert all(not array.any() for array in made.values())


def test_a_wrong_zero_convolution_fails_and_is_named(files: Files) -> None:
    def halve(model: ir.Model) -> None:
        node = edits.find(model, "controlnet_down_blocks.2", "Conv")
        edits.edit_constant(node, 1, lambda array: array * 0.5)

    wrong = edits.inject(files.net, files.folder / "wrong.onnx", halve)
    report = check(wrong, files.subject, cases=CASES[1:])
    assert report.cases[0].verdict.startswith(f"failed at {OWN_SKIPS}_2")
    finding = locate(wrong, files.subject, CASES[1]).finding
    assert finding is not None
    assert (finding.module, finding.role) == ("controlnet_down_blocks.2", "zero_convolution")


def test_exchanged_outputs_fail_and_are_named(files: Files) -> None:
    def exchange(model: ir.Model) -> None:
        first, second = model.graph.outputs[:2]
        first.name, second.name = "spare", first.name
        first.name = f"{OWN_SKIPS}_1"
        model.graph.outputs[:2] = [second, first]

    wrong = edits.inject(files.net, files.folder / "wrong.onnx", exchange)
    report = check(wrong, files.subject, cases=CASES[1:])
    assert report.cases[0].verdict.startswith(f"failed at {OWN_SKIPS}_")


def test_what_it_hands_on_is_annotated(files: Files) -> None:
    model = ir.load(files.net)
    roles = [
        node.metadata_props.get(meta.ROLE) for node in model.graph if node.op_type == "Conv"
    ]
    assert roles == ["conv_in", *["zero_convolution"] * 5]
    image = edits.call(model, "controlnet_cond_embedding")
    assert (image.op_type, image.metadata_props[meta.ROLE]) == (
        "ControlImage",
        "control_image",
    )
    (sum_,) = (n for n in model.graph if n.metadata_props[meta.ROLE] == "condition")
    assert sum_.metadata_props[meta.CONDITION] == "controlnet_cond"
    sides = {n.name: n.metadata_props.get(meta.SIDE) for n in model.graph if n.domain}
    assert (sides["down_blocks.1"], sides["mid_block"]) == ("down", "mid")
    assert sides["controlnet_cond_embedding"] is None
    assert not list(files.folder.glob("*.safetensors"))  # linked


def test_viewer_draws_the_down_half_and_its_zero_convolutions(files, tmp_path) -> None:
    atlas = read(files.net)
    zero = [(b.level, len(b.parts)) for b in atlas.blocks if b.kind == "zero"]
    assert zero == [(1, 3), (0, 2)]
    assert show([str(files.net), "--svg", str(tmp_path / "net.svg")]) == 0
    drawn = (tmp_path / "net.svg").read_text()
    assert drawn.count("side-down") == drawn.count("side-zero") == 2
    assert drawn.count('class="pill control') == 1


def test_what_only_a_unet_can_do_is_refused_in_one_line(files, tmp_path, capsys) -> None:
    net, out = str(files.folder / "net"), str(tmp_path / "x.onnx")
    for option in (["--lora"], ["--controlnet", net], ["--adapter-inputs"]):
        assert main([out, "--model", net, *option]) == 2
        assert "with a ControlNetModel; expected a UNet" in capsys.readouterr().err
    assert prove([str(files.net), "--model", net, "--trajectory", "2"]) == 2
    assert "--trajectory with a ControlNetModel" in capsys.readouterr().err
    assert sample([str(files.net), str(tmp_path / "x.safetensors")]) == 2
    assert "is a ControlNet by itself; expected a UNet's file" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
