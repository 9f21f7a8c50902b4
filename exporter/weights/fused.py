"""Weights with LoRAs baked in, a tensor at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from exporter.types import Source, TensorSpec, Weights
from exporter.weights.lora import Factors, Lora, layers_of, read_lora, strength_of
from exporter.weights.unet import build_unet


class FusedWeights:
    """``W + sum of scale * up @ down``; implements ``types.Weights``.

    Nothing is computed before it is read, and no more than one weight is held: a checkpoint is
    fused while it is streamed.

    Args:
        base: The checkpoint.
        loras: LoRAs and their strengths.
    """

    def __init__(self, base: Weights, loras: Sequence[tuple[Lora, float]]) -> None:
        self._base = base
        self._changes: dict[str, list[Factors]] = {}
        for lora, strength in loras:
            for path, factors in lora.factors.items():
                changes = self._changes.setdefault(f"{path}.weight", [])
                changes.append(factors.times(strength))
        self._loras = tuple((lora.name, strength) for lora, strength in loras)
        self._tensors = {
            name: replace(spec, file=None) if name in self._changes else spec
            for name, spec in base.tensors.items()
        }

    @property
    def tensors(self) -> Mapping[str, TensorSpec]:
        """Those of the checkpoint; a changed one lies in no file."""
        return self._tensors

    @property
    def files(self) -> tuple[Path, ...]:
        """Those of the checkpoint."""
        return self._base.files

    @property
    def seed(self) -> int | None:
        """That of the checkpoint."""
        return self._base.seed

    @property
    def description(self) -> str:
        """The checkpoint's, and what was added to it."""
        added = (f"{name} at {strength:g}" for name, strength in self._loras)
        return " + ".join((self._base.description, *added))

    def read(self, name: str) -> torch.Tensor:
        """One tensor in its stored dtype; the sum is made in float32."""
        tensor = self._base.read(name)
        if name not in self._changes:
            return tensor
        total = tensor.float()
        for factors in self._changes[name]:
            total = total + factors.delta()
        return total.to(tensor.dtype)

    def raw(self, name: str) -> memoryview | None:
        """Bytes of the file, where the tensor is as it was."""
        return None if name in self._changes else self._base.raw(name)

    def map(self, name: str) -> torch.Tensor:
        """Pages of the file, where the tensor is as it was."""
        return self.read(name) if name in self._changes else self._base.map(name)


def with_loras(source: Source, wishes: Sequence[str]) -> Source:
    """The same UNet with LoRAs in its weights.

    Args:
        source: The UNet.
        wishes: ``FILE`` or ``FILE=0.8`` each.

    Raises:
        UsageError: A strength that is no number, or a LoRA of another UNet.
        CheckpointError: A file that is no LoRA, or none that can be fused.
    """
    if not wishes:
        return source
    layers = layers_of(build_unet(source))
    loras = []
    for path, strength in map(strength_of, wishes):
        loras.append((read_lora(path, layers, source.config), strength))
    told = tuple(f"{lora.name}={strength:g}" for lora, strength in loras)
    return replace(source, weights=FusedWeights(source.weights, loras), fused=told)
