"""A LoRA as people have it: one safetensors file, read, understood and checked."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from exporter.errors import CheckpointError, UsageError
from exporter.weights.checkpoint import Checkpoint
from exporter.weights.lora_names import STRANGERS, Layers, Part, is_text, split

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Factors:
    """What one layer gains: ``scale * up @ down``.

    Attributes:
        down: (r, in), or (r, in, h, w) of a convolution.
        up: (out, r), or (out, r, 1, 1).
        scale: ``alpha / r``; 1 where the file has no alpha.
    """

    down: torch.Tensor
    up: torch.Tensor
    scale: float

    @property
    def rank(self) -> int:
        """Rows of ``down``."""
        return int(self.down.shape[0])

    def delta(self) -> torch.Tensor:
        """The change of the weight, in its shape; float32."""
        down, up = self.down.float(), self.up.float()
        product = up.flatten(1) @ down.flatten(1)
        return self.scale * product.reshape(up.shape[0], *down.shape[1:])

    def concatenated(self, other: Factors) -> Factors:
        """The factors of the sum of both: ranks add up."""
        downs = torch.cat([self.down.float(), other.down.float()])
        ups = torch.cat([self.up.float() * self.scale, other.up.float() * other.scale], dim=1)
        return Factors(downs, ups, 1.0)

    def times(self, strength: float) -> Factors:
        """The same at another strength."""
        return Factors(self.down, self.up, self.scale * strength)


@dataclass(frozen=True)
class Lora:
    """The UNet's part of a LoRA.

    Attributes:
        name: The file's name.
        factors: By module path of the layer, in the file's order.
        text: How many tensors are for text encoders, and left alone.
    """

    name: str
    factors: Mapping[str, Factors]
    text: int = 0


def strength_of(text: str) -> tuple[Path, float]:
    """A LoRA's file and its strength, from ``FILE`` or ``FILE=0.8``.

    Raises:
        UsageError: The strength is no number.
    """
    path, given, number = text.rpartition("=")
    if not given or _exists(Path(text)):
        return Path(text), 1.0
    try:
        strength = float(number)
    except ValueError as error:
        raise UsageError(
            f"strength {number!r} of {path}", "a number, as in FILE=0.8"
        ) from error
    if not math.isfinite(strength):
        raise UsageError(f"strength {number!r} of {path}", "a finite number")
    return Path(path), strength


def _exists(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # too long a name
        return False


def layers_of(unet: torch.nn.Module) -> dict[str, Shape]:
    """Shape of the weight of every linear layer and convolution, by module path."""
    return {
        path: tuple(module.weight.shape)
        for path, module in unet.named_modules()
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d)
    }


def read_lora(path: Path, layers: Mapping[str, Shape], config: Mapping[str, Any]) -> Lora:
    """Reads a LoRA for a UNet with these layers.

    Args:
        path: A ``.safetensors`` file with names of peft, diffusers or kohya.
        layers: Shape of each layer's weight, by module path.
        config: The UNet's diffusers config.

    Raises:
        CheckpointError: Broken, no LoRA, or one of a kind that is no product of two factors.
        UsageError: It is for another UNet; names the first layer that does not fit.
    """
    if path.suffix != ".safetensors" or not _exists(path):
        raise CheckpointError(f"{path} is no safetensors file", "a LoRA in .safetensors")
    stored = Checkpoint.open(path)
    _refuse_strangers(path, stored)
    finder, parts, text = Layers(layers, _per_block(config)), _Parts(), 0
    for name in stored.tensors:
        found = split(name)
        if is_text(name):
            text += 1
        elif found is None:
            raise CheckpointError(f"{path.name} holds {name}", "the factors of a LoRA alone")
        else:
            layer, part = found
            parts.setdefault(layer, {})[part] = stored.read(name)
    if not parts:
        raise CheckpointError(
            f"{path.name} holds no LoRA of a UNet", "names such as lora_unet_"
        )
    told = _Told.of(path)
    factors = {}
    for name, tensors in parts.items():
        layer_path = finder.find(name)
        if layer_path is None:
            raise UsageError(
                f"{path.name} changes {name}, which this UNet does not have",
                "a LoRA for this UNet",
            )
        if layer_path in factors:
            raise CheckpointError(f"{path.name} changes {layer_path} under two names")
        factors[layer_path] = _factors(path, name, tensors, layers[layer_path], told)
    return Lora(path.name, factors, text)


_Parts = dict[str, dict[Part, torch.Tensor]]


@dataclass(frozen=True)
class _Told:
    """What a file's own metadata says of alphas, as diffusers and peft write it."""

    alpha: float | None = None
    patterns: Mapping[str, float] | None = None
    root: bool = False

    @classmethod
    def of(cls, path: Path) -> _Told:
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
            config = json.loads(metadata.get("lora_adapter_metadata", "{}"))
            beside = path.with_name("adapter_config.json")
            if path.name == "adapter_model.safetensors" and beside.is_file():
                config = json.loads(beside.read_bytes())
            config = {str(k).removeprefix("unet."): v for k, v in config.items()}
            alpha, patterns = config.get("lora_alpha"), config.get("alpha_pattern") or {}
            alpha = None if alpha is None else float(alpha)
            patterns = {str(k): float(v) for k, v in patterns.items()}
        except (OSError, SafetensorError, ValueError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{path.name}: its metadata cannot be understood") from error
        if config.get("use_dora"):
            raise CheckpointError(f"{path.name} is DoRA", "plain LoRA", "fuse it elsewhere")
        return cls(alpha, patterns, bool(config.get("use_rslora")))

    def scale(self, name: str, rank: int) -> float:
        fitting = (v for k, v in (self.patterns or {}).items() if name.endswith(k))
        alpha = next(fitting, self.alpha)
        if alpha is None:
            return 1.0
        return alpha / (math.sqrt(rank) if self.root else rank)


def _factors(
    path: Path, name: str, tensors: Mapping[Part, torch.Tensor], wanted: Shape, told: _Told
) -> Factors:
    if not {"down", "up"} <= tensors.keys():
        missing = "up" if "down" in tensors else "down"
        raise CheckpointError(f"{path.name} has no {missing} factor for {name}")
    for part, tensor in tensors.items():
        if part != "alpha" and not (tensor.is_floating_point() and tensor.ndim):
            raise CheckpointError(
                f"{path.name}: {part} of {name} is {tensor.dtype} of {list(tensor.shape)}",
                "a matrix of floats",
            )
    conv = len(wanted) == 4
    down, up = _shaped(tensors["down"], conv=conv), _shaped(tensors["up"], conv=conv)
    tail = (1, 1) if conv else ()
    rank = down.shape[0]
    fits = (
        rank > 0 and down.shape == (rank, *wanted[1:]) and up.shape == (wanted[0], rank, *tail)
    )
    if not fits:
        raise UsageError(
            f"{path.name} has factors of {list(tensors['down'].shape)} and "
            f"{list(tensors['up'].shape)} for {name}",
            f"two for a weight of {list(wanted)}",
            "use a LoRA of this UNet's family",
        )
    alpha = tensors.get("alpha")
    if alpha is not None and alpha.numel() != 1:
        raise CheckpointError(f"{path.name}: alpha of {name} is no number")
    scale = told.scale(name, rank) if alpha is None else float(alpha) / rank
    if not math.isfinite(scale):
        raise CheckpointError(f"{path.name}: alpha of {name} is not finite")
    return Factors(down, up, scale)


def _shaped(tensor: torch.Tensor, *, conv: bool) -> torch.Tensor:
    """A 1x1 convolution is a linear layer by another name: trainers mix both."""
    if conv and tensor.ndim == 2:
        return tensor[:, :, None, None]
    if not conv and tensor.ndim == 4 and tensor.shape[2:] == (1, 1):
        return tensor[:, :, 0, 0]
    return tensor


def _refuse_strangers(path: Path, stored: Checkpoint) -> None:
    for name in stored.tensors:
        kind = next((what for part, what in STRANGERS.items() if part in name), None)
        if kind is not None:
            raise CheckpointError(
                f"{path.name} is {kind}: it holds {name}",
                "plain LoRA, two factors a layer",
                "merge it into a checkpoint with the tool that made it",
            )


def _per_block(config: Mapping[str, Any]) -> int:
    layers = config.get("layers_per_block", 2)
    return int(layers if isinstance(layers, int) else layers[0])
