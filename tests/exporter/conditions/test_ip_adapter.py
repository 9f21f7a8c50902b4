"""IP-Adapters in the graph: parity with diffusers' own, off exactly off, strangers refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import onnx_ir as ir
import pytest
import torch
from safetensors.torch import load_file, save_file

from exporter import metadata as meta
from exporter.cli import main
from exporter.conditions.ip_adapter import EMBEDS, SCALE, is_image_prompt
from exporter.parity.cases import ParityCase
from exporter.parity.check import check
from exporter.parity.inputs import make_inputs
from exporter.parity.locate import locate
from exporter.parity.subject import Subject
from exporter.runtime.contract import read_contract
from exporter.runtime.session import Session, open_session
from exporter.source import load_source
from exporter.types import Source
from exporter.weights.image_prompt import with_ip_adapters
from tests.exporter.conditions import image_prompts
from tests.exporter.parity import edits
from viewer.cli import main as show
from viewer.model.atlas import read
from viewer.outputs.figures.dot import to_dot
from viewer.outputs.figures.drawing import draw

CASES = [ParityCase(1, 33, 35, 5, 981.0), ParityCase(2, 8, 9, 7, 20.5)]
KINDS = ("plain", "plus")
DOOR = "mid_block.attentions.0.transformer_blocks.0.attn2"


@dataclass(frozen=True)
class Files:
    """One UNet exported plain, and with two IP-Adapters of different kinds."""

    folder: Path
    source: Source
    plain: Session
    both: Session

    @property
    def subject(self) -> Subject:
        return Subject(self.source, "fp32", provider="cpu")

    def inputs(self, case: ParityCase, **more: float) -> dict[str, torch.Tensor]:
        made = make_inputs(case, self.source, "fp32")
        return {**made, **{name: torch.tensor(value) for name, value in more.items()}}

    def without(self, case: ParityCase) -> np.ndarray:
        own = {k: v for k, v in self.inputs(case).items() if not is_image_prompt(k)}
        return self.plain.run(own)["out_sample"]


@pytest.fixture(scope="module")
def files(workshop: Any, tmp_path_factory: pytest.TempPathFactory) -> Files:
    root = tmp_path_factory.mktemp("prompts") / "micro"
    workshop.save_as(root / "unet", "micro", layers_per_block=1)
    unet = diffusers.UNet2DConditionModel.from_pretrained(root / "unet")
    adapters = [image_prompts.save(unet, root, kind, i) for i, kind in enumerate(KINDS)]
    workshop.export(root / "plain.onnx", root)
    workshop.export(root / "both.onnx", root, ip_adapters=tuple(adapters), weights="link")
    sessions = (open_session(root / f"{name}.onnx", "cpu") for name in ("plain", "both"))
    return Files(root, with_ip_adapters(load_source(str(root)), adapters), *sessions)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_off_is_the_plain_graph_bit_for_bit(files: Files, case: ParityCase) -> None:
    off = files.inputs(case, **{f"{SCALE}0": 0.0, f"{SCALE}1": 0.0})
    expected = files.without(case)
    assert files.both.run(off)["out_sample"].tobytes() == expected.tobytes()
    for one in range(2):
        on = files.inputs(case, **{f"{SCALE}{one}": 0.0})
        assert np.abs(files.both.run(on)["out_sample"] - expected).max() > 1e-2


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_file_computes_what_diffusers_own_loader_and_processor_do(files, case) -> None:
    """Without code of ours: strengths are floats, as ``set_ip_adapter_scale`` sets them."""
    unet: Any = diffusers.UNet2DConditionModel.from_pretrained(files.folder / "unet")
    states = [
        image_prompts.as_diffusers_reads(files.folder / f"{kind}.safetensors")
        for kind in KINDS
    ]
    unet._load_ip_adapter_weights(states, low_cpu_mem_usage=False)
    inputs = files.inputs(case)
    for processor in unet.attn_processors.values():
        if hasattr(processor, "to_k_ip"):
            processor.scale = [float(inputs[f"{SCALE}{index}"]) for index in range(2)]
    own = {name: tensor for name, tensor in inputs.items() if not is_image_prompt(name)}
    images = [inputs[f"{EMBEDS}{index}"] for index in range(2)]
    assert images[0].shape[1] == (2 if case.batch == 1 else 1)
    with torch.no_grad():
        added = {"image_embeds": images}
        reference = unet(**own, added_cond_kwargs=added, return_dict=False)[0].numpy()
    assert np.abs(files.both.run(inputs)["out_sample"] - reference).max() < 2e-5


def exchange_scales(model: ir.Model) -> None:
    node = edits.call(model, f"{DOOR}.processor")
    first, second = (
        index
        for index, value in enumerate(node.inputs)
        if value is not None and (value.name or "").startswith(SCALE)
    )
    edits.swap(node, first, second)


def exchange_text_and_image(model: ir.Model) -> None:
    """The text's tokens go to the image's attention, and the image's to the text's."""
    body = next(f for f in model.functions.values() if f.domain == f"unet.{DOOR}")
    text = next(value for value in body.inputs if value.name == "text")
    shape = ir.tensor(np.array([0, -1, 16]), name="flat")
    held = ir.node("Constant", [], {"value": shape}, name="flat")
    image = next(value for value in body.inputs if value.name == "image_0")
    flat = ir.node("Reshape", [image, held.outputs[0]], name="image_as_text")
    called = next(node for node in body if node.op_type == "ImagePrompt")
    users = [(user, slot) for user, slot in text.uses() if user.op_type == "MatMul"]
    body.insert_before(next(iter(body)), [held, flat])
    held.outputs[0].name, flat.outputs[0].name = "flat", "image_as_text"
    axes = ir.node(
        "Constant", [], {"value": ir.tensor(np.array([1]), name="axes")}, name="axes"
    )
    wide = ir.node("Unsqueeze", [text, axes.outputs[0]], name="text_as_image")
    axes.outputs[0].name, wide.outputs[0].name = "axes", "text_as_image"
    body.insert_before(next(iter(body)), [axes, wide])
    for user, slot in users:
        user.replace_input_with(slot, flat.outputs[0])
    called.replace_input_with(list(called.inputs).index(image), wide.outputs[0])


@pytest.mark.parametrize("fault", [exchange_scales, exchange_text_and_image])
def test_a_wrong_file_is_not_proven_and_the_module_is_named(
    files: Files, fault: Callable[[ir.Model], None]
) -> None:
    wrong = edits.inject(files.folder / "both.onnx", files.folder / "wrong.onnx", fault)
    assert not check(wrong, files.subject, cases=CASES[1:]).passed
    finding = locate(wrong, files.subject, CASES[1]).finding
    assert finding is not None
    assert finding.module.startswith(DOOR)


def test_file_is_proven_one_sample_at_a_time_too(files: Files) -> None:
    cases = [CASES[1], ParityCase(6, 8, 8, 5, 500.0, per_sample=True, contrast=True)]
    report = check(files.folder / "both.onnx", files.subject, cases=cases)
    assert [case.verdict for case in report.cases if not case.passed] == []


def test_text_and_image_enter_a_block_by_separate_doors(files: Files) -> None:
    model = ir.load(files.folder / "both.onnx")
    text = edits.find(model, DOOR, "Attention").metadata_props
    assert (text[meta.ROLE], text[meta.K]) == ("cross_attention", "encoder_hidden_states")
    images = [edits.find(model, f"{DOOR}.processor", "Attention", i) for i in range(2)]
    for index, node in enumerate(images):
        assert node.metadata_props[meta.ROLE] == "image_prompt"
        assert node.metadata_props[meta.K] == node.metadata_props[meta.V] == f"{EMBEDS}{index}"
    around = edits.call(model, DOOR)
    assert around.metadata_props[meta.ROLE] == "cross_attention"
    assert around.op_type == "CrossAttention"
    doors = [value.name for value in around.inputs if value is not None]
    assert {"image_0", "image_1", f"{SCALE}0", f"{SCALE}1"} <= set(doors)
    door = edits.call(model, f"{DOOR}.processor")
    assert door.op_type == "ImagePrompt"
    assert door.metadata_props[meta.CLASS].endswith(".IPAdapterAttnProcessor2_0")
    projection = next(node for node in model.graph if node.name == "encoder_hid_proj")
    assert projection.metadata_props[meta.ROLE] == "image_prompt"
    assert [value.name for value in projection.outputs] == ["image_0", "image_1"]


def test_viewer_draws_a_third_line_around_the_u(files: Files, tmp_path: Path) -> None:
    atlas = read(files.folder / "both.onnx")
    roles = [one.role for one in atlas.attentions]
    assert (roles.count("cross_attention"), roles.count("image_prompt")) == (4, 8)
    flows = {atlas.tree.values[value].name: atlas.tree.values[value].flow for value in (
        *atlas.tree.inputs, *atlas.tree.nodes[atlas.parts["image_prompt"][0]].outputs
    )}  # fmt: skip
    assert flows[f"{EMBEDS}0"] == "prompt"
    assert flows["encoder_hidden_states"] == "text"
    assert any(block.kind == "image_prompt" for block in atlas.blocks)
    assert "“prompt” stands" in to_dot(draw(atlas, 1))
    assert show([str(files.folder / "both.onnx"), "--svg", str(tmp_path / "map.svg")]) == 0
    drawn = (tmp_path / "map.svg").read_text()
    for kind in ("text", "prompt"):
        assert drawn.count(f'class="bus {kind}"') == 1
        assert drawn.count(f'class="drop {kind}"') == 4
    assert drawn.count('class="tap prompt"') == 4  # three blocks, and the projection


def test_adapters_are_linked_and_named_in_the_file(files: Files) -> None:
    assert sorted(path.name for path in files.folder.glob("*.safetensors")) == [
        "plain.safetensors",
        "plus.safetensors",
    ]
    contract = read_contract(files.folder / "both.onnx")
    told = json.loads(contract.metadata[meta.PREFIX + "ip_adapters"])
    assert told == [{"name": f"{kind}.safetensors", "kind": kind} for kind in KINDS]
    weights = json.loads(contract.metadata[meta.PREFIX + "weights"])
    assert {"plain.safetensors", "plus.safetensors"} <= weights["files"].keys()


def test_shapes_of_the_inputs(files: Files) -> None:
    shapes = {spec.name: spec.shape for spec in files.source.inputs}
    assert shapes[f"{EMBEDS}0"] == ("B", "I0", 12)
    assert shapes[f"{EMBEDS}1"] == ("B", "I1", "P1", 14)
    assert shapes[f"{SCALE}1"] == ()


def lacking(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {k: v for k, v in tensors.items() if not k.startswith("image_proj")}


def wider(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {k: torch.zeros(v.shape[0], 24) if "ip." in k else v for k, v in tensors.items()}


def longer(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {**tensors, "ip_adapter.99.to_k_ip.weight": torch.zeros(16, 16)}


def face(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    own = {k: v for k, v in tensors.items() if k != "image_proj.proj.weight"}
    return {**own, "image_proj.proj.0.weight": torch.zeros(4, 4)}


def stranger(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {**tensors, "conv_in.weight": torch.zeros(4)}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lacking, "has no image_proj.*; expected the projection of an IP-Adapter"),
        (wider, r"to_k_ip.weight \[16, 24\]; expected \[16, 16\], as micro has"),
        (longer, "expected 4, as micro has; use an IP-Adapter of this UNet's family"),
        (face, "of the kind FaceID; expected a plain one or plus"),
        (stranger, "holds conv_in.weight; expected an IP-Adapter"),
    ],
)
def test_a_wrong_adapter_is_refused_in_one_line(files, tmp_path, capsys, change, told) -> None:
    save_file(
        change(load_file(files.folder / "plain.safetensors")), tmp_path / "x.safetensors"
    )
    common = [str(tmp_path / "x.onnx"), "--model", str(files.folder), "--ip-adapter"]
    assert main([*common, str(tmp_path / "x.safetensors")]) == 2
    error = capsys.readouterr().err
    assert re.search(told, error), error
    assert [path.name for path in tmp_path.iterdir()] == ["x.safetensors"]


@pytest.mark.parametrize(
    ("model", "told"),
    [("ddpm", "a UNet2DModel"), ("added-kv", "ResnetDownsampleBlock2D"), ("dual", "dual_")],
)
def test_a_unet_without_such_a_place_is_refused(workshop, files, model, told) -> None:
    with pytest.raises(Exception, match=f"--ip-adapter with {told}"):
        with_ip_adapters(workshop.source(model), [str(files.folder / "plain.safetensors")])


def test_a_file_of_another_kind_is_refused(tmp_path, capsys, files) -> None:
    common = [str(tmp_path / "x.onnx"), "--model", str(files.folder), "--ip-adapter"]
    assert main([*common, str(tmp_path / "none.safetensors")]) == 2
    assert "expected the .safetensors file of an IP-Adapter" in capsys.readouterr().err
    (tmp_path / "ip.bin").write_bytes(b"x")
    assert main([*common, str(tmp_path / "ip.bin")]) == 2
    assert "ip.bin is no .safetensors file" in capsys.readouterr().err
