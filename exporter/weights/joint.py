"""Weights of several models as one: each behind the path at which its module lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.types import TensorSpec, Weights

if TYPE_CHECKING:
    import torch


class JointWeights:
    """A UNet's weights and those of its submodules; implements ``types.Weights``.

    Args:
        base: The UNet's.
        others: Each behind the path of its submodule, e.g. ``controlnet_0``; an empty path if
            its names are the UNet's own.
    """

    def __init__(self, base: Weights, others: Sequence[tuple[str, Weights]]) -> None:
        self._parts = (("", base), *others)
        self._tensors = {
            name: replace(spec, name=name)
            for path, part in self._parts
            for inner, spec in part.tensors.items()
            for name in [f"{path}.{inner}" if path else inner]
        }
        self._of = {
            f"{path}.{inner}" if path else inner: (part, inner)
            for path, part in self._parts
            for inner in part.tensors
        }

    @property
    def tensors(self) -> Mapping[str, TensorSpec]:
        """Every tensor by its path from the UNet."""
        return self._tensors

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of all, each once."""
        return tuple(dict.fromkeys(f for _, part in self._parts for f in part.files))

    @property
    def seed(self) -> int | None:
        """The UNet's."""
        return self._parts[0][1].seed

    @property
    def description(self) -> str:
        """All of them."""
        return " + ".join(part.description for _, part in self._parts)

    def read(self, name: str) -> torch.Tensor:
        """One tensor in its stored dtype."""
        part, inner = self._of[name]
        return part.read(inner)

    def raw(self, name: str) -> memoryview | None:
        """One tensor's bytes as its file stores them; None where there is no file."""
        part, inner = self._of[name]
        return part.raw(inner)

    def map(self, name: str) -> torch.Tensor:
        """The same as reclaimable pages of its file, where it has one."""
        part, inner = self._of[name]
        return part.map(inner)
