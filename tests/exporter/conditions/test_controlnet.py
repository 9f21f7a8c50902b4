"""ControlNets in the graph: parity with diffusers' own, off exactly off, strangers refused."""

from __future__ import annotations

import re
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
from exporter.conditions.controlnet import COND, SCALE, is_control
from exporter.conditions.residuals import MIDDLE, SKIPS
from exporter.inputs import with_halves
from exporter.parity.cases import ParityCase
from exporter.parity.check import check
from exporter.parity.inputs import make_inputs
from exporter.parity.subject import Subject
from exporter.runtime.session import Session, open_session
from exporter.source import load_source, with_controlnets
from exporter.types import Source
from tests.exporter.parity import edits

CASES = [ParityCase(1, 33, 35, 5, 981.0), ParityCase(2, 8, 9, 7, 20.5)]
EMBEDDINGS = ((4, 8, 8, 16), (4, 4, 8, 8))


@dataclass(frozen=True)
class Files:
    """One UNet exported plain, and with two ControlNets that add something."""

    folder: Path
    source: Source
    plain: Session
    both: Session

    @property
    def nets(self) -> list[Any]:
        folders = (self.folder / f"net-{index}" for index in range(2))
        return [diffusers.ControlNetModel.from_pretrained(folder) for folder in folders]

    def inputs(self, case: ParityCase, **more: float) -> dict[str, torch.Tensor]:
        made = make_inputs(case, self.source, "fp32")
        return {**made, **{name: torch.tensor(value) for name, value in more.items()}}

    def without(self, case: ParityCase) -> np.ndarray:
        inputs = self.inputs(case)
        return self.plain.run({k: v for k, v in inputs.items() if not is_control(k)})[
            "out_sample"
        ]


def randomised(unet: Any, embedding: tuple[int, ...], seed: int) -> Any:
    net = diffusers.ControlNetModel.from_unet(
        unet, conditioning_embedding_out_channels=embedding
    )
    random = torch.Generator().manual_seed(seed)
    for name, parameter in net.named_parameters():
        if name.startswith("controlnet_"):
            parameter.data = torch.randn(parameter.shape, generator=random) * 0.1
    return net


@pytest.fixture(scope="module")
def files(workshop: Any, tmp_path_factory: pytest.TempPathFactory) -> Files:
    root = tmp_path_factory.mktemp("controlnets") / "micro"
    workshop.save_as(root / "unet", "micro")
    unet = diffusers.UNet2DConditionModel.from_pretrained(root / "unet")
    folders = []
    for index, embedding in enumerate(EMBEDDINGS):
        folders.append(str(root / f"net-{index}"))
        randomised(unet, embedding, index).save_pretrained(folders[-1])
    workshop.export(root / "plain.onnx", root)
    workshop.export(root / "both.onnx", root, controlnets=tuple(folders), weights="link")
    sessions = (open_session(root / f"{name}.onnx", "cpu") for name in ("plain", "both"))
    return Files(root, with_controlnets(load_source(str(root)), folders), *sessions)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_off_is_the_plain_graph_bit_for_bit(files: Files, case: ParityCase) -> None:
    off = files.inputs(case, **{f"{SCALE}0": 0.0, f"{SCALE}1": 0.0})
    expected = files.without(case)
    assert files.both.run(off)["out_sample"].tobytes() == expected.tobytes()
    for one in range(2):
        on = files.inputs(case, **{f"{SCALE}{one}": 0.0})
        assert np.abs(files.both.run(on)["out_sample"] - expected).max() > 1e-2


def test_a_pipelines_sum_of_nets_is_what_the_file_computes(files: Files) -> None:
    """As ``MultiControlNetModel`` adds them, over diffusers' own three forwards."""
    unet = diffusers.UNet2DConditionModel.from_pretrained(files.folder / "unet")
    inputs = files.inputs(CASES[0])
    own = {name: tensor for name, tensor in inputs.items() if not is_control(name)}
    with torch.no_grad():
        made = [
            net(
                **own,
                controlnet_cond=inputs[f"{COND}{index}"],
                conditioning_scale=float(inputs[f"{SCALE}{index}"]),
                return_dict=False,
            )
            for index, net in enumerate(files.nets)
        ]
        residuals = {
            SKIPS: [a + b for a, b in zip(made[0][0], made[1][0], strict=True)],
            MIDDLE: made[0][1] + made[1][1],
        }
        reference = unet(**own, **residuals, return_dict=False)[0].numpy()
    assert np.abs(files.both.run(inputs)["out_sample"] - reference).max() < 1e-5


def test_file_is_proven_and_a_wrong_one_is_not(files: Files) -> None:
    subject = Subject(files.source, "fp32", provider="cpu")
    assert check(files.folder / "both.onnx", subject, cases=CASES[1:]).passed

    def exchange(model: ir.Model) -> None:
        first, second = (
            next(value for value in model.graph.inputs if value.name == f"{SCALE}{index}")
            for index in range(2)
        )
        first.name, second.name = second.name, first.name

    wrong = edits.inject(files.folder / "both.onnx", files.folder / "wrong.onnx", exchange)
    assert not check(wrong, subject, cases=CASES[1:]).passed


def test_nets_lie_beside_the_u_and_are_linked(files: Files) -> None:
    model = ir.load(files.folder / "both.onnx")
    calls = [node for node in model.graph if node.op_type == "ControlNet"]
    assert [node.name for node in calls] == ["controlnet_0", "controlnet_1"]
    assert not any(meta.SIDE in node.metadata_props for node in calls)
    shared = next(node for node in model.graph if node.name == "time_proj")
    assert all(shared.outputs[0] in node.inputs for node in calls)
    sums = [n for n in model.graph if n.metadata_props.get(meta.ROLE) == "condition"]
    assert {n.metadata_props[meta.CONDITION] for n in sums} == {f"{COND}0,{COND}1"}
    ends = {key: list(ids(model, key)) for key in (meta.SKIP_SOURCE, meta.SKIP_SINK)}
    assert ends == {meta.SKIP_SOURCE: [0, 1, 2, 3], meta.SKIP_SINK: [0, 1, 2, 3]}
    first = next(n for n in edits.nodes(model) if n.metadata_props[meta.ROLE] == "conv_in")
    assert first.metadata_props[meta.MODULE] == "conv_in"
    assert not list(files.folder.glob("*.safetensors"))
    assert (files.folder / "both.onnx").stat().st_size < 2_000_000


def ids(model: ir.Model, key: str) -> Any:
    texts = (node.metadata_props.get(key, "") for node in model.graph)
    yield from sorted(int(part) for text in texts for part in text.split(",") if part)


def test_an_image_is_eight_times_the_latents(files: Files) -> None:
    shapes = {spec.name: spec.shape for spec in files.source.inputs}
    assert shapes[f"{COND}0"] == ("B", 3, "8H", "8W")
    assert shapes[f"{SCALE}1"] == ()
    assert with_halves({"H": 33, "W": 35})["8W"] == 280


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"block_out_channels": [8, 16]}, r"block_out_channels \[8, 16\]"),
        ({"cross_attention_dim": 24}, "cross_attention_dim 24"),
    ],
)
def test_a_net_of_another_family_is_refused(files, tmp_path, capsys, change, told) -> None:
    config = {**files.nets[0].config, **change}
    net: Any = diffusers.ControlNetModel.from_config(config)
    net.save_pretrained(tmp_path / "net")
    common = [str(tmp_path / "x.onnx"), "--model", str(files.folder), "--controlnet"]
    assert main([*common, str(tmp_path / "net")]) == 2
    error = capsys.readouterr().err
    assert re.search(told, error), error
    assert main([*common, str(files.folder / "unet")]) == 2
    assert "has _class_name UNet2DConditionModel" in capsys.readouterr().err
    assert main([*common, str(tmp_path)]) == 2
    assert "expected the folder of a ControlNet" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["net"]
