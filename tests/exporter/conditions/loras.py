"""Random LoRAs, saved as different trainers save them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from safetensors.torch import save_file

Named = Callable[[str, dict[str, torch.Tensor]], dict[str, torch.Tensor]]


def peft(path: str, parts: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    names = {"down": "lora_A.weight", "up": "lora_B.weight", "alpha": "alpha"}
    return {f"unet.{path}.{names[part]}": tensor for part, tensor in parts.items()}


def older(path: str, parts: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    names = {"down": "lora.down.weight", "up": "lora.up.weight", "alpha": "alpha"}
    return {f"unet.{path}.{names[part]}": tensor for part, tensor in parts.items()}


def kohya(path: str, parts: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    names = {"down": "lora_down.weight", "up": "lora_up.weight", "alpha": "alpha"}
    stem = "lora_unet_" + path.replace(".", "_")
    return {f"{stem}.{names[part]}": tensor for part, tensor in parts.items()}


def layers(unet: torch.nn.Module, within: Iterable[str] = ("",)) -> dict[str, torch.nn.Module]:
    return {
        path: module
        for path, module in unet.named_modules()
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d)
        and any(part in path for part in within)
    }


def make(
    file: Path,
    unet: torch.nn.Module,
    *,
    seed: int = 0,
    within: Iterable[str] = ("attentions",),
    named: Named = peft,
    alpha: float | None = None,
    dtype: torch.dtype = torch.float32,
) -> dict[str, torch.Tensor]:
    """Writes a LoRA of rank 2, 3 or 4 by layer, and returns the change of each weight."""
    random = torch.Generator().manual_seed(seed)
    stored, changes = {}, {}
    for index, (path, module) in enumerate(layers(unet, within).items()):
        rank, (outs, ins, *window) = 2 + index % 3, module.weight.shape
        down = (
            torch.randn(rank, ins, *window, generator=random) / module.weight[0].numel() ** 0.5
        )
        up = torch.randn(outs, rank, *([1] * len(window)), generator=random) / 2
        down, up = down.to(dtype), up.to(dtype)
        parts = {"down": down, "up": up}
        scale = 1.0
        if alpha is not None:
            parts["alpha"], scale = torch.tensor(alpha), alpha / rank
        stored |= {k: v.contiguous() for k, v in named(path, parts).items()}
        product = up.float().flatten(1) @ down.float().flatten(1)
        changes[f"{path}.weight"] = scale * product.reshape(outs, ins, *window)
    save_file(stored, file)
    return changes


def fuse(unet: torch.nn.Module, *changes: tuple[dict[str, torch.Tensor], float]) -> None:
    """W + s * BA, by hand."""
    with torch.no_grad():
        for change, strength in changes:
            for name, delta in change.items():
                unet.get_parameter(name).add_(strength * delta)
