"""Tiny UNets written as Stability AI's code writes whole checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

V1: dict[str, Any] = {
    "layers_per_block": 2,
    "block_out_channels": [32, 64],
    "norm_num_groups": 32,
    "attention_head_dim": 8,
    "cross_attention_dim": 48,
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
}
V2: dict[str, Any] = {
    **V1,
    "block_out_channels": [64, 128],
    "attention_head_dim": [1, 2],
    "cross_attention_dim": 1024,
    "use_linear_projection": True,
    "upcast_attention": True,
    "layers_per_block": 1,
}
XL: dict[str, Any] = {
    **V2,
    "cross_attention_dim": 40,
    "upcast_attention": False,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
    "transformer_layers_per_block": [1, 2],
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 16 + 6 * 256,
}
KINDS = {
    "v1": V1,
    "v1-inpaint": {**V1, "in_channels": 9},
    "v1-edit": {**V1, "in_channels": 8, "layers_per_block": 1},
    "v2": V2,
    "v2-unclip": {
        **V2,
        "class_embed_type": "projection",
        "projection_class_embeddings_input_dim": 24,
    },
    "xl": XL,
}

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_OUTSIDE = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "class_embedding.linear_1": "label_emb.0.0",
    "class_embedding.linear_2": "label_emb.0.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}


def original_name(name: str, config: Mapping[str, Any]) -> str:
    """Diffusers' name of a tensor -> the original one, worked out from the config."""
    stem, leaf = name.rsplit(".", 1)
    if stem in _OUTSIDE:
        return f"{_OUTSIDE[stem]}.{leaf}"
    parts = name.split(".")
    if parts[0] == "mid_block":
        place = {"resnets": 0, "attentions": 1}[parts[1]] + 2 * int(parts[2])
        return f"middle_block.{place}.{_inside(parts[3:])}"
    side, level, kind, layer = parts[0], int(parts[1]), parts[2], int(parts[3])
    each = config["layers_per_block"] + 1
    if kind == "downsamplers":
        return f"input_blocks.{(level + 1) * each}.0.op.{leaf}"
    if kind == "upsamplers":
        attends = config["up_block_types"][level].startswith("CrossAttn")
        return f"output_blocks.{(level + 1) * each - 1}.{1 + attends}.conv.{leaf}"
    number = level * each + layer + (side == "down_blocks")
    block = "input" if side == "down_blocks" else "output"
    return f"{block}_blocks.{number}.{int(kind == 'attentions')}.{_inside(parts[4:])}"


def _inside(parts: list[str]) -> str:
    return ".".join([_RESNET.get(parts[0], parts[0]), *parts[1:]])


def original_state(unet: Any) -> dict[str, torch.Tensor]:
    """A UNet's tensors as a whole checkpoint holds them, with what else lies in one."""
    prefix = "model.diffusion_model."
    state = {
        prefix + original_name(name, unet.config): tensor
        for name, tensor in unet.state_dict().items()
    }
    return {
        "alphas_cumprod": torch.ones(1000),
        "model_ema.diffusion_modelinput_blocks00weight": torch.ones(3),
        **state,
        "first_stage_model.encoder.conv_in.weight": torch.ones(8, 3, 3, 3),
        "cond_stage_model.transformer.text_model.final_layer_norm.bias": torch.ones(7),
    }


def save_original(
    unet: Any, path: Path, extra: Mapping[str, torch.Tensor] | None = None
) -> Path:
    """Writes it as one ``.safetensors`` file."""
    save_file({**original_state(unet), **(extra or {})}, path)
    return path
