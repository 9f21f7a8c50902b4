"""Residuals of a ControlNet and an adapter: shapes, parity, and off exactly off."""

from collections.abc import Iterator
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
from exporter.conditions.residuals import (
    BLOCKS,
    MIDDLE,
    SKIPS,
    adapter_inputs,
    conditions_in,
    controlnet_inputs,
    gathered,
    with_conditions,
)
from exporter.errors import UsageError
from exporter.inputs import with_halves
from exporter.parity.cases import ParityCase
from exporter.parity.check import check
from exporter.parity.inputs import make_inputs
from exporter.parity.locate import locate
from exporter.parity.subject import Subject
from exporter.runtime.contract import read_contract
from exporter.runtime.session import Session, open_session
from exporter.source import load_source
from exporter.types import Source
from tests.exporter.parity import edits

ALL = ("controlnet", "adapter")
CASES = [ParityCase(1, 33, 35, 5, 981.0), ParityCase(2, 8, 9, 7, 20.5)]
THREE_LEVELS = {
    "block_out_channels": [8, 16, 24],
    "norm_num_groups": 4,
    "attention_head_dim": 4,
    "cross_attention_dim": 16,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "layers_per_block": 2,
}
FOUR_LEVELS = {
    **THREE_LEVELS,
    "block_out_channels": [8, 8, 16, 24],
    "down_block_types": [*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"],
    "up_block_types": ["UpBlock2D", *["CrossAttnUpBlock2D"] * 3],
}


@dataclass(frozen=True)
class Files:
    """One UNet exported plain and with every residual."""

    source: Source
    plain: Path
    conditioned: Path

    @property
    def subject(self) -> Subject:
        return Subject(self.source, "fp32", provider="cpu")


@pytest.fixture(scope="module")
def files(workshop: Any, tmp_path_factory: pytest.TempPathFactory) -> Files:
    root = tmp_path_factory.mktemp("residuals") / "micro"
    workshop.save_as(root / "unet", "micro")
    for name, conditions in (("plain", ()), ("conditioned", ALL)):
        workshop.export(root / f"{name}.onnx", root, conditions=conditions)
    source = with_conditions(load_source(str(root)), ALL)
    return Files(source, root / "plain.onnx", root / "conditioned.onnx")


@pytest.fixture(scope="module")
def sessions(files: Files) -> tuple[Session, Session]:
    return open_session(files.plain, "cpu"), open_session(files.conditioned, "cpu")


def sizes_of(shape: tuple[Any, ...], **sizes: int) -> tuple[int, ...]:
    known = with_halves(sizes)
    return tuple(known[dim] if isinstance(dim, str) else dim for dim in shape)


@pytest.mark.parametrize("config", [THREE_LEVELS, FOUR_LEVELS], ids=["three", "four"])
@pytest.mark.parametrize(("height", "width"), [(33, 35), (16, 24)])
def test_shapes_are_those_that_a_controlnet_makes(config, height, width) -> None:
    unet = diffusers.UNet2DConditionModel(**config)
    net = diffusers.ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(4, 8))
    with torch.no_grad():
        skips, middle = net(
            torch.zeros(2, 4, height, width),
            torch.tensor(5),
            torch.zeros(2, 3, 16),
            torch.zeros(2, 3, height * 2, width * 2),
            return_dict=False,
        )
    made = [tuple(tensor.shape) for tensor in (*skips, middle)]
    specs = controlnet_inputs(unet.config)
    assert made == [sizes_of(spec.shape, B=2, H=height, W=width) for spec in specs]
    names = [f"{SKIPS}_{index}" for index in range(len(skips))]
    assert [spec.name for spec in specs] == [*names, MIDDLE]


@pytest.mark.parametrize(
    ("config", "kind", "downscale"),
    [(FOUR_LEVELS, "full_adapter", 8), (THREE_LEVELS, "full_adapter_xl", 16)],
)
def test_shapes_are_those_that_an_adapter_makes(config, kind, downscale) -> None:
    channels = config["block_out_channels"]
    channels = channels if len(channels) == 4 else [*channels, channels[-1]]
    adapter = diffusers.T2IAdapter(
        in_channels=1, channels=channels, downscale_factor=downscale, adapter_type=kind
    )
    with torch.no_grad():
        features = adapter(torch.zeros(1, 1, 256, 384))
    specs = adapter_inputs(config)
    assert [spec.name for spec in specs] == [f"{BLOCKS}_{i}" for i in range(len(features))]
    made = [tuple(feature.shape) for feature in features]
    assert made == [sizes_of(spec.shape, B=1, H=32, W=48) for spec in specs]


def test_file_is_proven_with_everything_on(files: Files) -> None:
    report = check(files.conditioned, files.subject, cases=CASES)
    assert [case.verdict for case in report.cases if not case.passed] == []


def off(inputs: dict[str, torch.Tensor], on: str = "") -> dict[str, torch.Tensor]:
    """The same inputs with residuals zero, those that begin with ``on`` excepted."""
    return {
        name: tensor
        if not conditions_like(name) or (on and name.startswith(on))
        else tensor * 0
        for name, tensor in inputs.items()
    }


def conditions_like(name: str) -> bool:
    return "additional_residual" in name


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_off_is_the_plain_graph_bit_for_bit(files, sessions, case) -> None:
    plain, conditioned = sessions
    inputs = off(make_inputs(case, files.source, "fp32"))
    own = {name: tensor for name, tensor in inputs.items() if not conditions_like(name)}
    expected = plain.run(own)["out_sample"]
    assert conditioned.run(inputs)["out_sample"].tobytes() == expected.tobytes()


@pytest.mark.parametrize("on", [SKIPS, MIDDLE, BLOCKS])
def test_each_residual_changes_the_prediction(files, sessions, on) -> None:
    plain, conditioned = sessions
    inputs = make_inputs(CASES[1], files.source, "fp32")
    own = {name: tensor for name, tensor in inputs.items() if not conditions_like(name)}
    expected = plain.run(own)["out_sample"]
    assert np.abs(conditioned.run(off(inputs, on))["out_sample"] - expected).max() > 1e-3


def test_a_real_controlnet_drives_the_file(files, sessions) -> None:
    """Its zero-convolutions are randomised: fresh ones would add nothing."""
    unet: Any = diffusers.UNet2DConditionModel.from_pretrained(files.plain.parent / "unet")
    net = diffusers.ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(4, 8))
    random = torch.Generator().manual_seed(1)
    for name, parameter in net.named_parameters():
        if name.startswith("controlnet_"):
            parameter.data = torch.randn(parameter.shape, generator=random) * 0.1
    inputs = off(make_inputs(CASES[0], files.source, "fp32"))
    own = {name: tensor for name, tensor in inputs.items() if not conditions_like(name)}
    with torch.no_grad():
        image = torch.rand((1, 3, 66, 70), generator=random)
        skips, middle = net(**own, controlnet_cond=image, return_dict=False)
        residuals = {SKIPS: skips, MIDDLE: middle}
        reference = unet(**own, **residuals, return_dict=False)[0].numpy()
        plain = unet(**own, return_dict=False)[0].numpy()
    named = {f"{SKIPS}_{index}": tensor for index, tensor in enumerate(skips)}
    ours = sessions[1].run({**inputs, **named, MIDDLE: middle})["out_sample"]
    assert np.abs(reference - plain).max() > 1e-3
    assert np.abs(ours - reference).max() < 1e-5


def test_a_residual_on_the_wrong_skip_fails_and_is_named(files: Files) -> None:
    def exchange(model: ir.Model) -> None:
        first, second = (sums(model)[f"{SKIPS}_{index}"] for index in (0, 1))
        a, b = first.inputs[1], second.inputs[1]
        first.replace_input_with(1, b)
        second.replace_input_with(1, a)

    wrong = edits.inject(files.conditioned, files.plain.with_name("wrong.onnx"), exchange)
    report = check(wrong, files.subject, cases=CASES[1:])
    assert not report.passed
    finding = locate(wrong, files.subject, CASES[1]).finding
    assert finding is not None
    assert finding.role == "condition"
    assert finding.node in (f"{SKIPS}_0/Add", f"{SKIPS}_1/Add")


def sums(model: ir.Model) -> dict[str, ir.Node]:
    """The Adds of residuals, by the input that each one's annotation names."""
    return {
        node.metadata_props[meta.CONDITION]: node
        for node in edits.nodes(model)
        if node.metadata_props.get(meta.ROLE) == "condition" and not node.domain
    }


def test_annotations_lead_from_each_residual_to_its_place(files: Files) -> None:
    model = ir.load(files.conditioned)
    found = sums(model)
    assert found.keys() == {s.name for s in files.source.inputs if conditions_like(s.name)}
    for index in range(4):
        node = found[f"{SKIPS}_{index}"]
        assert node.name == f"{SKIPS}_{index}/Add"
        assert node.outputs[0].name == f"skip_{index}"
        assert node.metadata_props[meta.SIDE] == "down"
    assert found[MIDDLE].metadata_props[meta.SIDE] == "mid"
    assert found[f"{BLOCKS}_0"].metadata_props[meta.MODULE] == "down_blocks.0"
    ends = {key: list(skip_ids(model, key)) for key in (meta.SKIP_SOURCE, meta.SKIP_SINK)}
    assert ends == {meta.SKIP_SOURCE: [0, 1, 2, 3], meta.SKIP_SINK: [0, 1, 2, 3]}


def skip_ids(model: ir.Model, key: str) -> Iterator[int]:
    texts = (node.metadata_props.get(key, "") for node in model.graph)
    yield from sorted(int(part) for text in texts for part in text.split(",") if part)


def test_contract_tells_conditions_from_inputs(files: Files) -> None:
    contract = read_contract(files.conditioned)
    assert conditions_in(contract.types) == ALL
    bare = load_source(str(files.plain.parent))
    with pytest.raises(UsageError, match="additional_residual"):
        contract.require(bare)
    contract.require(contract.conditioned(bare))
    assert contract.conditioned(bare).inputs == files.source.inputs
    assert conditions_in(read_contract(files.plain).types) == ()


def test_forward_gets_lists_in_order() -> None:
    tensors = {f"{SKIPS}_{index}": torch.tensor(index) for index in range(11)}
    given = gathered({**tensors, MIDDLE: torch.tensor(99), "sample": torch.tensor(0)})
    assert [int(tensor) for tensor in given[SKIPS]] == list(range(11))
    assert given.keys() == {SKIPS, MIDDLE}


@pytest.mark.parametrize(
    ("model", "told"),
    [("ddpm", "with a UNet2DModel"), ("added-kv", "with ResnetDownsampleBlock2D")],
)
def test_a_unet_without_such_a_place_is_refused(workshop, model, told) -> None:
    with pytest.raises(UsageError, match=f"--controlnet-inputs {told}"):
        with_conditions(workshop.source(model), ["controlnet"])


def test_command_line_refuses_before_anything_is_written(workshop, tmp_path, capsys) -> None:
    target = tmp_path / "x.onnx"
    code = main([str(target), "--model", str(workshop.pipeline("ddpm")), "--adapter-inputs"])
    assert code == 2
    assert "--adapter-inputs with a UNet2DModel" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
