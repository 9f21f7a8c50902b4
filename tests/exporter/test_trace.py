"""The traced program: free axes, conventional inputs, not one weight read."""

import pytest
import torch

from exporter.errors import GraphError, UsageError
from exporter.trace import trace
from exporter.weights.random import RandomWeights
from exporter.weights.unet import build_unet


def _inputs(program):
    users = set(program.exported.graph_signature.user_inputs)
    placeholders = (n for n in program.exported.graph.nodes if n.op == "placeholder")
    return [n.meta["val"] for n in placeholders if n.name in users]


@pytest.fixture
def program(workshop):
    return workshop.program("micro")


def test_batch_size_and_text_are_free(program):
    assert sorted(program.axes.values()) == ["B", "H", "S", "W"]
    shapes = [
        tuple(program.axes.get(str(d), d) for d in value.shape) for value in _inputs(program)
    ]
    assert shapes == [("B", 4, "H", "W"), (1,), ("B", "S", 16)]


def test_classes_are_the_modules(program, workshop):
    unet = build_unet(workshop.source("micro"))
    assert program.classes[""].endswith(".UNet2DConditionModel")
    assert set(program.classes) == {path for path, _ in unet.named_modules()}
    assert program.classes["conv_in"] == "torch.nn.modules.conv.Conv2d"


def test_parameters_are_fake(program):
    for value in program.exported.state_dict.values():
        assert type(value).__name__ == "FakeTensor" or value.is_meta


def test_no_weight_is_read(workshop, monkeypatch):
    source = workshop.source("ddpm")
    monkeypatch.setattr(type(source.weights), "read", None)
    monkeypatch.setattr(RandomWeights, "read", None)
    program = workshop.program("ddpm")
    assert sorted(program.axes.values()) == ["B", "H", "W"]


def test_what_computes_nothing_is_gone(program):
    aten = torch.ops.aten
    targets = {node.target for node in program.exported.graph.nodes}
    idle = {aten.dropout.default, aten.contiguous.default, aten.alias.default}
    assert targets.isdisjoint(idle | {aten._assert_tensor_metadata.default})


def test_sdxl_conditioning_follows_the_conventional_names(workshop):
    program = workshop.program("tiny-xl")
    assert [spec.name for spec in program.inputs] == [
        "sample", "timestep", "encoder_hidden_states", "text_embeds", "time_ids",
    ]  # fmt: skip
    assert len(_inputs(program)) == 5


def test_what_pytorch_itself_cannot_run_is_one_line(workshop):
    """diffusers 0.42 passes DualTransformer2DModel an argument that it does not take."""
    source = workshop.source("dual")
    with pytest.raises(
        GraphError, match="cannot trace UNet2DConditionModel of dual"
    ) as caught:
        trace(source, lambda: build_unet(source), torch.float32)
    assert "\n" not in str(caught.value)


def test_modules_to_keep_in_fp32_exist(workshop):
    source = workshop.source("micro")
    with pytest.raises(UsageError, match="--keep-fp32 mid_blok"):
        trace(source, lambda: build_unet(source), torch.float16, ["mid_blok"])


@pytest.fixture
def half(workshop):
    """A program in fp16 whose middle block stays in fp32."""
    return workshop.program("micro", torch.float16, ("mid_block", "conv_norm_out"))


def test_kept_modules_compute_in_fp32(half):
    assert {v.dtype for v in _inputs(half)} == {torch.float16, torch.float32}  # the timestep
    for name, value in half.exported.state_dict.items():
        kept = name.startswith(("traced.mid_block.", "traced.conv_norm_out."))
        assert value.dtype == (torch.float32 if kept else torch.float16)
    for node in half.exported.graph.nodes:
        if node.target == torch.ops.aten.conv2d.default:
            kept = any(
                "mid_block" in path for path, _ in node.meta["nn_module_stack"].values()
            )
            assert node.meta["val"].dtype == (torch.float32 if kept else torch.float16)
