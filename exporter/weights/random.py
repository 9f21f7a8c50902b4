"""Seeded weights for a UNet that has no checkpoint."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
import torch

from exporter.types import TensorSpec


@dataclass(frozen=True)
class _Recipe:
    """How one tensor is drawn.

    Attributes:
        spread: Half-width of the uniform, or standard deviation of the normal distribution.
        centre: Mean.
        normal: Whether the distribution is normal.
    """

    spread: float
    centre: float = 0.0
    normal: bool = False


class RandomWeights:
    """Values drawn per tensor from (seed, name) alone; implements ``types.Weights``.

    Statistics follow PyTorch's default initialisation, which keeps activations of a UNet of
    any depth near unit scale. Norms differ from it by up to a tenth: with weights of exactly
    one and biases of exactly zero, an export that lost them would go unnoticed.
    """

    def __init__(self, unet: torch.nn.Module, seed: int = 0) -> None:
        """Plans every tensor of the state dict.

        Args:
            unet: The model; only names, shapes and module types are read, not kept.
            seed: Any integer from 0.
        """
        recipes = dict(_recipes(unet))
        self._seed = seed
        self._tensors = {
            name: TensorSpec(
                name, ir.DataType.FLOAT, tuple(tensor.shape), nbytes=tensor.numel() * 4
            )
            for name, tensor in unet.state_dict().items()
        }
        self._recipes = {name: recipes[name] for name in self._tensors}

    @property
    def files(self) -> tuple[Path, ...]:
        """None: the values are generated."""
        return ()

    @property
    def seed(self) -> int:
        """The seed."""
        return self._seed

    @property
    def tensors(self) -> Mapping[str, TensorSpec]:
        """Every tensor by name, fp32, in the state dict's order."""
        return self._tensors

    @property
    def description(self) -> str:
        """``random, seed N``."""
        return f"random, seed {self._seed}"

    def read(self, name: str) -> torch.Tensor:
        """One tensor, fp32; the same whenever and in whatever order it is asked for."""
        spec, recipe = self._tensors[name], self._recipes[name]
        words = np.frombuffer(hashlib.sha256(name.encode()).digest(), "<u4").tolist()
        generator = np.random.Generator(np.random.SFC64([self._seed, *words]))
        count = math.prod(spec.shape)
        if recipe.normal:
            values = generator.standard_normal(count, dtype=np.float32)
            values *= recipe.spread
        else:
            values = generator.random(count, dtype=np.float32)
            values -= 0.5
            values *= 2 * recipe.spread
        if recipe.centre:
            values += recipe.centre
        return torch.from_numpy(values).reshape(spec.shape)

    def raw(self, name: str) -> None:
        """None: there is no file."""

    map = read  # there is no file to map


def _recipes(unet: torch.nn.Module) -> Iterator[tuple[str, _Recipe]]:
    for path, module in unet.named_modules():
        own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        for leaf, tensor in own:
            yield f"{path}.{leaf}" if path else leaf, _recipe(module, leaf, tensor)


def _recipe(module: torch.nn.Module, leaf: str, tensor: torch.Tensor) -> _Recipe:
    if "Norm" in type(module).__name__:
        return _Recipe(0.1, centre=1.0 if leaf == "weight" else 0.0)
    if isinstance(module, torch.nn.Embedding) or (tensor.ndim == 1 and leaf == "weight"):
        return _Recipe(1.0, normal=True)  # learned or Fourier embeddings
    weight = getattr(module, "weight", None)
    like = weight if isinstance(weight, torch.Tensor) and weight.ndim > 1 else tensor
    fan_in = math.prod(like.shape[1:]) or 1
    return _Recipe(1 / math.sqrt(fan_in))
