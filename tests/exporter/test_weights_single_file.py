"""Single-file checkpoints against diffusers' own conversion of them."""

from typing import Any

import onnx
import pytest
import torch
from diffusers.loaders.single_file_utils import (
    convert_ldm_unet_checkpoint,
    create_unet_diffusers_config_from_ldm,
)
from safetensors.torch import load_file, save_file

from exporter.errors import CheckpointError, ConfigError, UsageError
from exporter.pipeline import export
from exporter.runtime.contract import read_contract
from exporter.sample.model import read_model
from exporter.sampler.plan import SamplerRequest, make_plan
from exporter.source import load_source
from exporter.types import ExportRequest
from exporter.weights.original import Original
from exporter.weights.unet import build_unet, load_unet
from tests.exporter import original

READ_OFF = [
    "in_channels",
    "out_channels",
    "down_block_types",
    "up_block_types",
    "block_out_channels",
    "cross_attention_dim",
    "layers_per_block",
    "attention_head_dim",
    "use_linear_projection",
    "class_embed_type",
    "addition_embed_type",
    "addition_time_embed_dim",
    "projection_class_embeddings_input_dim",
    "upcast_attention",
    "norm_num_groups",
    "flip_sin_to_cos",
    "act_fn",
    "mid_block_type",
]


@pytest.fixture(params=original.KINDS)
def case(request, make_unet, tmp_path) -> Any:
    unet = make_unet(**original.KINDS[request.param])
    return unet, original.save_original(unet, tmp_path / "style.safetensors")


def test_names_and_bytes_are_those_of_diffusers_conversion(case) -> None:
    unet, file = case
    weights = load_source(str(file)).weights
    referee = convert_ldm_unet_checkpoint(load_file(file), unet.config)
    assert weights.tensors.keys() == referee.keys() == unet.state_dict().keys()
    for name, tensor in referee.items():
        assert torch.equal(weights.read(name), tensor), name
        assert weights.tensors[name].file == file


def test_config_is_read_off_names_and_shapes(case) -> None:
    unet, file = case
    config = load_source(str(file)).config
    assert {key: config[key] for key in READ_OFF} == {
        key: unet.config[key] for key in READ_OFF
    }
    depths = unet.config["transformer_layers_per_block"]
    levels = len(unet.config["block_out_channels"])
    expected = [depths] * levels if isinstance(depths, int) else depths
    assert config["transformer_layers_per_block"] == expected


@pytest.mark.parametrize("preset", ["sd15", "sd21", "sd-inpaint", "sdxl", "sdxl-refiner"])
def test_published_models_are_recognised(preset) -> None:
    source = load_source(preset)
    wanted = source.config
    shapes = {
        original.original_name(name, wanted): tuple(tensor.shape)
        for name, tensor in build_unet(source).state_dict().items()
    }
    config = Original(shapes, preset).config()
    for key in (*READ_OFF, "sample_size"):
        assert config.get(key, wanted[key]) == wanted[key], key
    depths = config["transformer_layers_per_block"]
    attends = ["CrossAttn" in kind for kind in wanted["down_block_types"]]
    published = wanted["transformer_layers_per_block"]
    for level, attending in enumerate(attends):
        if attending or level == len(attends) - 1:
            assert depths[level] == (
                published if isinstance(published, int) else published[level]
            )


def test_config_is_that_of_diffusers_reading_the_original_yaml(make_unet, tmp_path) -> None:
    file = original.save_original(make_unet(**original.XL), tmp_path / "xl.safetensors")
    yaml = {
        "in_channels": 4, "out_channels": 4, "model_channels": 64, "num_res_blocks": 1,
        "attention_resolutions": [2], "channel_mult": [1, 2], "num_head_channels": 64,
        "use_linear_in_transformer": True, "transformer_depth": [1, 2], "context_dim": 40,
    }  # fmt: skip
    params = {
        "unet_config": {"params": yaml},
        "first_stage_config": {"params": {"ddconfig": {"ch_mult": [1, 2, 4, 4]}}},
    }
    referee = create_unet_diffusers_config_from_ldm({"model": {"params": params}}, {})
    config = load_source(str(file)).config
    labels = ("addition", "class_embed", "projection_class", "sample_size")
    for key, value in referee.items():
        if not key.startswith(labels):
            assert config[key] == value, key


def test_linked_export_is_proven_and_points_into_the_checkpoint(make_unet, tmp_path) -> None:
    unet = make_unet(**original.V1)
    file = original.save_original(unet, tmp_path / "style.safetensors")
    before = file.read_bytes()
    report = export(ExportRequest(tmp_path / "style.onnx", model=str(file), provider="cpu"))
    assert report.weights["mode"] == "link"
    assert report.parity.passed
    assert file.read_bytes() == before
    assert (tmp_path / "style.onnx").stat().st_size < len(before)
    proto = onnx.load(tmp_path / "style.onnx", load_external_data=False)
    entries = [
        {entry.key: entry.value for entry in attribute.t.external_data}
        for function in proto.functions
        for node in function.node
        for attribute in node.attribute
        if attribute.t.data_location == onnx.TensorProto.EXTERNAL
    ]
    entries += [
        {entry.key: entry.value for entry in tensor.external_data}
        for tensor in proto.graph.initializer
        if tensor.data_location == onnx.TensorProto.EXTERNAL
    ]
    assert {entry["location"] for entry in entries} == {file.name}
    pointed = [before[int(e["offset"]) : int(e["offset"]) + int(e["length"])] for e in entries]
    stored = (tensor.numpy().tobytes() for tensor in unet.state_dict().values())
    assert sorted(pointed) == sorted(stored)


def test_what_it_predicts_is_taken_or_read_off_a_mark(make_unet, tmp_path) -> None:
    unet = make_unet(**original.V2)
    silent = load_source(str(original.save_original(unet, tmp_path / "silent.safetensors")))
    assert silent.prediction is None
    assert "cannot be read off" in silent.weights.description
    marked = original.save_original(
        unet, tmp_path / "v.safetensors", {"v_pred": torch.ones(0)}
    )
    assert load_source(str(marked)).prediction == "v_prediction"
    target = tmp_path / "taken.onnx"
    model = str(tmp_path / "silent.safetensors")
    export(ExportRequest(target, model=model, check=False, prediction="v_prediction"))
    assert read_contract(target).metadata["atlas.prediction"] == "v_prediction"
    assert read_model(target).prediction == "v_prediction"
    assert make_plan(SamplerRequest(tmp_path / "s.onnx", target, "ddim")).family.velocity


def test_loaded_module_is_the_unet(case) -> None:
    unet, file = case
    loaded = load_unet(load_source(str(file)), torch.float32)
    for name, tensor in unet.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


@pytest.mark.parametrize(
    ("stored", "told"),
    [
        ({"model.diffusion_model.joint_blocks.0.x": 1}, "holds a diffusion transformer"),
        ({"lora_unet_down_blocks_0.alpha": 1}, "holds a LoRA"),
        ({"control_model.time_embed.0.weight": 1}, "holds a ControlNet"),
        ({"anything": 1}, "holds no UNet"),
        ({"conv_in.weight": 1}, "diffusers' tensor names; give the folder"),
    ],
)
def test_other_files_are_named(tmp_path, stored, told) -> None:
    file = tmp_path / "x.safetensors"
    save_file({name: torch.ones(size) for name, size in stored.items()}, file)
    with pytest.raises(CheckpointError, match=told) as caught:
        load_source(str(file))
    assert "\n" not in str(caught.value)


def test_pickled_file_is_refused(tmp_path) -> None:
    (tmp_path / "x.ckpt").write_bytes(b"\x80\x02")
    with pytest.raises(CheckpointError, match="pickled, which can run code"):
        load_source(str(tmp_path / "x.ckpt"))


@pytest.mark.parametrize("option", ["revision", "variant"])
def test_options_of_folders_are_refused(make_unet, tmp_path, option) -> None:
    file = original.save_original(make_unet(**original.V1), tmp_path / "x.safetensors")
    with pytest.raises(UsageError, match=f"--{option} fp16 with the file"):
        load_source(str(file), **{option: "fp16"})


def damaged(make_unet, tmp_path, change) -> str:
    state = original.original_state(make_unet(**original.V1))
    change(state)
    save_file(state, tmp_path / "x.safetensors")
    return str(tmp_path / "x.safetensors")


UNET = "model.diffusion_model."


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        (
            lambda s: s.pop(UNET + "output_blocks.0.0.in_layers.2.bias"),
            CheckpointError,
            r"1 missing: up_blocks\.0\.resnets\.0\.conv1\.bias",
        ),
        (lambda s: s.pop(UNET + "out.2.weight"), ConfigError, r"lacks out\.2\.weight"),
        (
            lambda s: s.update({UNET + "label_emb.weight": torch.ones(10, 4)}),
            ConfigError,
            "table of class labels, as the x4 upscaler",
        ),
        (
            lambda s: s.update({UNET + "input_blocks.1.1.odd.weight": torch.ones(1)}),
            CheckpointError,
            r"1 extra: down_blocks\.0\.attentions\.0\.odd\.weight",
        ),
        (
            lambda s: [s.pop(n) for n in list(s) if n.startswith(UNET + "input_blocks.5.0")],
            ConfigError,
            r"resnets by level",
        ),
        (
            lambda s: [s.pop(n) for n in list(s) if n.startswith(UNET + "input_blocks.2.1")],
            ConfigError,
            r"transformers of \[0, 1\] blocks in one level",
        ),
        (
            lambda s: [s.pop(n) for n in list(s) if n.startswith(UNET + "middle_block.1")],
            ConfigError,
            "no attention in the middle",
        ),
        (
            lambda s: s.update(
                {
                    UNET + "middle_block.1.transformer_blocks.0.attn2.to_k.weight": torch.ones(
                        64, 5
                    )
                }
            ),
            ConfigError,
            r"cross-attention to \[5, 48\]",
        ),
    ],
)
def test_another_architecture_or_damage_is_one_line(
    make_unet, tmp_path, change, error, told
) -> None:
    with pytest.raises(error, match=told) as caught:
        load_source(damaged(make_unet, tmp_path, change))
    assert "\n" not in str(caught.value)


def test_exchanged_names_fail_the_referee(make_unet, tmp_path) -> None:
    """Two tensors of one shape under each other's names: told apart by bytes alone."""

    def exchange(state: dict[str, torch.Tensor]) -> None:
        a, b = (UNET + f"input_blocks.{i}.1.proj_in.weight" for i in (1, 2))
        state[a], state[b] = state[b], state[a]

    unet = make_unet(**original.V1)
    weights = load_source(damaged(make_unet, tmp_path, exchange)).weights
    wrong = [n for n, t in unet.state_dict().items() if not torch.equal(weights.read(n), t)]
    assert wrong == [f"down_blocks.0.attentions.{i}.proj_in.weight" for i in (0, 1)]
