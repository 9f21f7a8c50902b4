import json
import math

import onnx_ir as ir
import pytest
import torch

from exporter.errors import CheckpointError, ConfigError, SourceError, UsageError
from exporter.source import load_source, presets
from exporter.weights.checkpoint import Checkpoint
from exporter.weights.random import RandomWeights
from exporter.weights.unet import build_unet

# As published: the checkpoints' own parameter counts.
PARAMETERS = {
    "sd15": 859_520_964,
    "sd21": 865_910_724,
    "sd-inpaint": 859_535_364,
    "sdxl": 2_567_463_684,
    "sdxl-refiner": 2_259_526_660,
    "lcm": 859_602_884,
    "ddpm": 113_673_219,
}


def count(source):
    return sum(math.prod(spec.shape) for spec in source.weights.tensors.values())


@pytest.mark.parametrize("name", PARAMETERS)
def test_preset_is_the_published_model(name):
    source = load_source(name)
    assert (source.name, source.origin) == (name, "preset")
    assert isinstance(source.weights, RandomWeights)
    assert source.weights.description == "random, seed 0"
    assert count(source) == PARAMETERS[name]
    unet = build_unet(source)
    assert {parameter.device.type for parameter in unet.parameters()} == {"meta"}


def test_every_preset_is_known():
    assert presets()[0] == "sd15"
    assert set(presets()) == {*PARAMETERS, "shapes", "tiny", "tiny-xl"}


@pytest.mark.parametrize("within", ["", "unet"])
def test_folder_is_a_pipeline_or_a_unet(tiny_pipeline, within):
    source = load_source(str(tiny_pipeline / within))
    assert source.origin == "folder"
    assert source.name == (within or "tiny-pipeline")
    assert source.class_name == source.config["_class_name"] == "UNet2DConditionModel"
    assert isinstance(source.weights, Checkpoint)
    assert source.revision is None
    assert json.dumps(source.config)


def test_subfolder_and_variant_choose(tmp_path, save_unet):
    save_unet(tmp_path / "prior")
    save_unet(tmp_path / "prior", dtype=torch.float16, how={"variant": "fp16"})
    plain = load_source(str(tmp_path), subfolder="prior")
    half = load_source(str(tmp_path), subfolder="prior", variant="fp16")
    assert {spec.dtype for spec in plain.weights.tensors.values()} == {ir.DataType.FLOAT}
    assert {spec.dtype for spec in half.weights.tensors.values()} == {ir.DataType.FLOAT16}
    assert half.weights.description == "diffusion_pytorch_model.fp16.safetensors"


def test_variant_that_is_absent_tells_what_is_there(tiny_pipeline):
    with pytest.raises(CheckpointError, match=r"holds diffusion_pytorch_model\.safetensors"):
        load_source(str(tiny_pipeline), variant="fp16")


def test_pipeline_tells_the_width_of_pooled_text(tmp_path, save_unet):
    save_unet(tmp_path / "unet", "tiny-xl", projection_class_embeddings_input_dim=5 * 8 + 32)
    (tmp_path / "text_encoder_2").mkdir()
    (tmp_path / "text_encoder_2" / "config.json").write_text('{"projection_dim": 32}')
    shapes = {spec.name: spec.shape for spec in load_source(str(tmp_path)).inputs}
    assert shapes["text_embeds"] == ("B", 32)
    assert shapes["time_ids"] == ("B", 5)


@pytest.mark.parametrize(
    ("config", "error", "told"),
    [
        ({"_class_name": "AutoencoderKL"}, ConfigError, "_class_name AutoencoderKL"),
        ({}, ConfigError, "_class_name None"),
        ([], ConfigError, "holds a list"),
        (None, ConfigError, "is not JSON"),
        (
            {"_class_name": "UNet2DConditionModel", "attention_type": "gated"},
            ConfigError,
            "attention_type is 'gated'",
        ),
        (
            {"_class_name": "UNet2DConditionModel", "down_block_types": ["Round"] * 4},
            ConfigError,
            "cannot build UNet2DConditionModel.*Round",
        ),
        (
            {"_class_name": "UNet2DConditionModel", "block_out_channels": [32, "x", 1, 2]},
            ConfigError,
            "cannot build",
        ),
    ],
)
def test_config_that_is_not_ours_is_one_line(tmp_path, config, error, told):
    text = "{ no" if config is None else json.dumps(config)
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(error, match=told) as caught:
        load_source(str(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("sdxl-refinery", "did you mean sdxl-refiner"),
        ("./nowhere", "no folder ./nowhere"),
        ("/no/such/model", "no folder"),
        ("models/tiny/unet", "no folder"),
        ("~nobody-at-all/model", "no folder"),
        ("x" * 5000, "no folder"),
        ("", "no folder"),
    ],
)
def test_what_cannot_be_found_says_what_could(model, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError, match=told):
        load_source(model)


def test_single_file_is_refused(tiny_pipeline):
    file = tiny_pipeline / "unet" / "diffusion_pytorch_model.safetensors"
    with pytest.raises(SourceError, match="is a file"):
        load_source(str(file))


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("tiny", {"revision": "main"}),
        ("tiny", {"variant": "fp16"}),
        ("tiny", {"seed": -1}),
        (".", {"revision": "main"}),
    ],
)
def test_options_without_meaning_are_refused(model, options):
    with pytest.raises(UsageError):
        load_source(model, **options)
