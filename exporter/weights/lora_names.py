"""What trainers call the factors of a LoRA, and which layer of a UNet each name means.

- peft: ``unet.<path>.lora_A.weight`` and ``lora_B``, below ``base_model.model.`` in a folder
  of peft's own.
- diffusers, older: ``unet.<path>.lora.down.weight`` and ``up``; older still, below an
  attention's processor, ``<path>.processor.to_q_lora.down.weight``.
- kohya-ss/sd-scripts and LyCORIS: ``lora_unet_<path with underscores>.lora_down.weight`` and
  ``lora_up``; for SDXL the path is often one of the original layout (``input_blocks_4_1``).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Literal

Part = Literal["down", "up", "alpha"]

_PREFIXES = ("base_model.model.unet.", "base_model.model.", "unet.")
_KOHYA = "lora_unet_"
_TEXT = ("lora_te", "text_encoder", "base_model.model.text_model", "te1_", "te2_")
_PARTS: Mapping[str, Part] = {
    ".lora_A.weight": "down",
    ".lora_B.weight": "up",
    ".lora_A.default.weight": "down",
    ".lora_B.default.weight": "up",
    ".lora.down.weight": "down",
    ".lora.up.weight": "up",
    "_lora.down.weight": "down",
    "_lora.up.weight": "up",
    ".lora_down.weight": "down",
    ".lora_up.weight": "up",
    ".lora.alpha": "alpha",
    "_lora.alpha": "alpha",
    ".alpha": "alpha",
}

STRANGERS: Mapping[str, str] = {
    "dora_scale": "DoRA (a magnitude beside each LoRA)",
    "lora_magnitude_vector": "DoRA (a magnitude beside each LoRA)",
    "lokr_w": "LoKr (Kronecker products)",
    "hada_w": "LoHa (Hadamard products)",
    "lora_mid": "LoCon with a Tucker core",
    "lora_B.bias": "LoRA with biases",
    "oft_blocks": "OFT (rotations)",
    "oft_diag": "OFT (rotations)",
    "on_input": "IA3 (scales)",
    "glora": "GLoRA",
    ".diff": "whole differences of weights",
    "a1.weight": "GLoRA",
}
"""Parts of tensor names that belong to methods other than LoRA."""

_RESNET = {
    "conv1": "in_layers.2",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
_OUTSIDE = {
    "conv_in": "input_blocks.0.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}
_PLACE = re.compile(r"(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.+)")
_MIDDLE = re.compile(r"mid_block\.(resnets|attentions)\.(\d+)\.(.+)")


def is_text(name: str) -> bool:
    """Whether a tensor is for a text encoder, which is no part of this."""
    return name.startswith(_TEXT)


def split(name: str) -> tuple[str, Part] | None:
    """A layer as a file names it, and which of its tensors this is; None for neither."""
    for suffix, part in _PARTS.items():
        if name.endswith(suffix):
            return name.removesuffix(suffix), part
    return None


class Layers:
    """Finds the layer of a UNet that a name means.

    Args:
        paths: Module path of every layer that could have a LoRA.
        layers_per_block: Of the UNet, for the names of the original layout.
    """

    def __init__(self, paths: Collection[str], layers_per_block: int) -> None:
        self.paths = frozenset(paths)
        self.kohya = {path.replace(".", "_"): path for path in paths}
        for path in paths:
            for name in _original(path, layers_per_block):
                self.kohya.setdefault(name.replace(".", "_"), path)

    def find(self, name: str) -> str | None:
        """Module path; None where the UNet has no such layer."""
        if name.startswith(_KOHYA):
            return self.kohya.get(name.removeprefix(_KOHYA))
        for prefix in _PREFIXES:
            name = name.removeprefix(prefix)
        name = name.replace(".processor.", ".")
        if name.endswith(".to_out"):
            name += ".0"
        return name if name in self.paths else None


def _original(path: str, layers: int) -> Iterator[str]:
    """What the original layout calls a layer (``weights.original`` has the way back)."""
    if path in _OUTSIDE:
        yield _OUTSIDE[path]
    if match := _MIDDLE.fullmatch(path):
        number = 1 if match[1] == "attentions" else 2 * int(match[2])
        yield f"middle_block.{number}.{_RESNET.get(match[3], match[3])}"
    match = _PLACE.fullmatch(path)
    if match is None:
        return
    side, level, kind, index, rest = match.groups()
    first = int(level) * (layers + 1) + (1 if side == "down" else 0)
    block = f"{'input' if side == 'down' else 'output'}_blocks"
    if kind == "downsamplers":
        yield f"{block}.{first + layers}.0.op"
    elif kind == "upsamplers":  # behind a resnet, or behind a resnet and a transformer
        yield f"{block}.{first + layers}.1.conv"
        yield f"{block}.{first + layers}.2.conv"
    elif kind in ("resnets", "attentions"):
        place = f"{block}.{first + int(index)}.{int(kind == 'attentions')}"
        yield f"{place}.{_RESNET.get(rest, rest)}"
