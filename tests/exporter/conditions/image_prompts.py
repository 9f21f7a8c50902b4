"""IP-Adapters made on the spot, in the layout in which people have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

WIDTH = {"plain": 12, "plus": 14}
PATCHES_WIDTH, TOKENS = 64, 5


def tensors(unet: Any, kind: str, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random ones, none of them zero, for a diffusers UNet."""
    random = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=random) / shape[-1] ** 0.5

    width = unet.config.cross_attention_dim
    proj = _plain(drawn, width) if kind == "plain" else _plus(drawn, width)
    made = {f"image_proj.{name}": tensor for name, tensor in proj.items()}
    paths = [name for name in unet.attn_processors if name.endswith("attn2.processor")]
    for number, path in enumerate(paths):
        like = unet.get_submodule(path.removesuffix(".processor")).to_k.weight
        for letter in "kv":
            made[f"ip_adapter.{2 * number + 1}.to_{letter}_ip.weight"] = drawn(*like.shape)
    return made


def _plain(drawn: Any, width: int) -> dict[str, torch.Tensor]:
    return {
        "proj.weight": drawn(4 * width, WIDTH["plain"]),
        "proj.bias": drawn(4 * width),
        "norm.weight": 1 + drawn(width),
        "norm.bias": drawn(width),
    }


def _plus(drawn: Any, width: int) -> dict[str, torch.Tensor]:
    inner = PATCHES_WIDTH
    made = {
        "latents": drawn(1, TOKENS, inner),
        "proj_in.weight": drawn(inner, WIDTH["plus"]),
        "proj_in.bias": drawn(inner),
        "proj_out.weight": drawn(width, inner),
        "proj_out.bias": drawn(width),
        "norm_out.weight": 1 + drawn(width),
        "norm_out.bias": drawn(width),
    }
    for layer in range(4):
        for norm in ("0.norm1", "0.norm2", "1.0"):
            made[f"layers.{layer}.{norm}.weight"] = 1 + drawn(inner)
            made[f"layers.{layer}.{norm}.bias"] = drawn(inner)
        made[f"layers.{layer}.0.to_q.weight"] = drawn(inner, inner)
        made[f"layers.{layer}.0.to_kv.weight"] = drawn(2 * inner, inner)
        made[f"layers.{layer}.0.to_out.weight"] = drawn(inner, inner)
        made[f"layers.{layer}.1.1.weight"] = drawn(4 * inner, inner)
        made[f"layers.{layer}.1.3.weight"] = drawn(inner, 4 * inner)
    return made


def save(unet: Any, folder: Path, kind: str, seed: int = 0) -> str:
    """The file of one, for a command line."""
    path = folder / f"{kind}.safetensors"
    save_file(tensors(unet, kind, seed), path)
    return str(path)


def as_diffusers_reads(path: str | Path) -> dict[str, dict[str, torch.Tensor]]:
    """What ``unet._load_ip_adapter_weights`` takes, split as ``load_ip_adapter`` does."""
    from safetensors.torch import load_file

    found: dict[str, dict[str, torch.Tensor]] = {"image_proj": {}, "ip_adapter": {}}
    for name, tensor in load_file(path).items():
        part, _, inner = name.partition(".")
        found[part][inner] = tensor
    return found
