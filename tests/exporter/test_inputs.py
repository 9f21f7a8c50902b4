"""Feeding exactly what the specs say must run diffusers' own forward."""

import pytest
import torch

from exporter.errors import ConfigError
from exporter.inputs import model_inputs, refuse_unfed, size_multiple

SIZES = {"B": 2, "S": 5, "T": 1}
ADDED = ("text_embeds", "time_ids")
TINY_DDPM = {
    "block_out_channels": [16, 16, 32],
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
    "layers_per_block": 1,
    "norm_num_groups": 8,
}


def feed_and_run(unet, height, width):
    config = dict(unet.config)
    feeds = {}
    for spec in model_inputs(type(unet).__name__, config):
        sizes = {**SIZES, "H": height, "W": width}
        shape = [sizes.get(dim, dim) for dim in spec.shape]
        dtype = getattr(torch, spec.dtype.replace("model", "float32"))
        feeds[spec.name] = torch.ones(shape, dtype=dtype)
    added = {name: feeds.pop(name) for name in ADDED if name in feeds}
    if added:
        feeds["added_cond_kwargs"] = added
    return unet(**feeds).sample.shape


@pytest.mark.parametrize(
    ("preset", "changes", "names"),
    [
        ("tiny", {}, "encoder_hidden_states"),
        ("tiny", {"time_cond_proj_dim": 24}, "encoder_hidden_states timestep_cond"),
        ("tiny", {"num_class_embeds": 10}, "encoder_hidden_states class_labels"),
        ("tiny", {"class_embed_type": "timestep"}, "encoder_hidden_states class_labels"),
        ("tiny", {"class_embed_type": "identity"}, "encoder_hidden_states class_labels"),
        (
            "tiny",
            {"class_embed_type": "identity", "time_embedding_type": "fourier"},
            "encoder_hidden_states class_labels",
        ),
        (
            "tiny",
            {"class_embed_type": "projection", "projection_class_embeddings_input_dim": 20},
            "encoder_hidden_states class_labels",
        ),
        (
            "tiny",
            {
                "class_embed_type": "simple_projection",
                "projection_class_embeddings_input_dim": 20,
                "class_embeddings_concat": True,
            },
            "encoder_hidden_states class_labels",
        ),
        ("tiny", {"encoder_hid_dim": 40}, "encoder_hidden_states"),
        (
            "tiny",
            {"addition_embed_type": "text", "addition_embed_type_num_heads": 8},
            "encoder_hidden_states",
        ),
        ("tiny-xl", {}, "encoder_hidden_states text_embeds time_ids"),
        ("ddpm", TINY_DDPM, ""),
        ("ddpm", {**TINY_DDPM, "num_class_embeds": 10}, "class_labels"),
        ("ddpm", {**TINY_DDPM, "class_embed_type": "timestep"}, "class_labels"),
        ("ddpm", {**TINY_DDPM, "class_embed_type": "identity"}, "class_labels"),
    ],
)
def test_specs_feed_diffusers(make_unet, preset, changes, names):
    unet = make_unet(preset, **changes)
    specs = model_inputs(type(unet).__name__, dict(unet.config))
    assert {spec.name for spec in specs} == {"sample", "timestep", *names.split()}
    assert feed_and_run(unet, 16, 16)[0] == SIZES["B"]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"addition_embed_type": "audio"}, "addition_embed_type is 'audio'"),
        ({"encoder_hid_dim_type": "ip_image_proj"}, "ip_image_proj"),
        ({"attention_type": "gated"}, "attention_type is 'gated'"),
    ],
)
def test_unfed_inputs_are_refused_by_name(changes, named):
    with pytest.raises(ConfigError, match=named):
        refuse_unfed("UNet2DConditionModel", changes)


def test_text_widths_must_agree(make_unet):
    config = dict(make_unet().config) | {"cross_attention_dim": [8, 16, 16]}
    with pytest.raises(ConfigError, match="cross_attention_dim"):
        model_inputs("UNet2DConditionModel", config)


@pytest.mark.parametrize(
    ("total", "each", "told", "text", "ids"),
    [
        (2816, 256, None, 1280, 6),  # SDXL
        (2560, 256, None, 1280, 5),  # its refiner
        (5632, 256, None, 4096, 6),  # Kolors
        (72, 8, 32, 32, 5),  # a small refiner whose pipeline tells the width
    ],
)
def test_pooled_text_and_sizes_are_told_apart(make_unet, total, each, told, text, ids):
    config = dict(make_unet("tiny-xl").config) | {
        "projection_class_embeddings_input_dim": total,
        "addition_time_embed_dim": each,
    }
    specs = {spec.name: spec for spec in model_inputs("UNet2DConditionModel", config, told)}
    assert specs["text_embeds"].shape == ("B", text)
    assert specs["time_ids"].shape == ("B", ids)


def test_impossible_pooled_text_is_refused(make_unet):
    config = dict(make_unet("tiny-xl").config) | {"projection_class_embeddings_input_dim": 40}
    with pytest.raises(ConfigError, match="projection_class_embeddings_input_dim 40"):
        model_inputs("UNet2DConditionModel", config)


def test_conditional_unet_takes_odd_sizes(make_unet):
    unet = make_unet()
    assert size_multiple("UNet2DConditionModel", unet.config) == 1
    assert feed_and_run(unet, 9, 11) == (2, 4, 9, 11)


@pytest.mark.parametrize(
    ("preset", "changes"),
    [
        ("ddpm", TINY_DDPM),
        ("tiny", {"up_block_types": ["ResnetUpsampleBlock2D"] + ["CrossAttnUpBlock2D"] * 2}),
    ],
)
def test_blocks_that_double_need_multiples(make_unet, preset, changes):
    unet = make_unet(preset, **changes)
    assert size_multiple(type(unet).__name__, unet.config) == 4
    assert feed_and_run(unet, 12, 8)[2:] == (12, 8)
    with pytest.raises(RuntimeError, match="size"):
        feed_and_run(unet, 10, 8)
