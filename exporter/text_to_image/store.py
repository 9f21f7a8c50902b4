"""Weights of all parts: linked where they lie, or copied into one file under their paths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import onnx_ir as ir
import torch

from exporter.types import TensorSpec, Weights
from exporter.weights.attach import attach


@dataclass(frozen=True)
class Joined:
    """Several models' weights under ``unet.``, ``vae.``, ...; implements ``types.Weights``.

    Attributes:
        members: Weights by the model's name in the pipeline.
        used: Names, with the model's, of those to keep: the VAE's encoder is none of them.
    """

    members: Mapping[str, Weights]
    used: frozenset[str]

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file once."""
        return tuple(dict.fromkeys(f for w in self.members.values() for f in w.files))

    @property
    def seed(self) -> None:
        """None: nothing is random here."""

    @property
    def tensors(self) -> Mapping[str, TensorSpec]:
        """All that are used, by name."""
        return {
            f"{model}.{name}": replace(spec, name=f"{model}.{name}")
            for model, weights in self.members.items()
            for name, spec in weights.tensors.items()
            if f"{model}.{name}" in self.used
        }

    @property
    def description(self) -> str:
        """One line for people."""
        return " + ".join(f"{name}: {w.description}" for name, w in self.members.items())

    def read(self, name: str) -> torch.Tensor:
        """See ``types.Weights``."""
        model, _, own = name.partition(".")
        return self.members[model].read(own)

    def raw(self, name: str) -> memoryview | None:
        """See ``types.Weights``."""
        model, _, own = name.partition(".")
        return self.members[model].raw(own)

    def map(self, name: str) -> torch.Tensor:
        """See ``types.Weights``."""
        model, _, own = name.partition(".")
        return self.members[model].map(own)


def attach_as(
    model: ir.Model, specs: Mapping[str, TensorSpec], folder: Path, parameters: list[str]
) -> None:
    """As ``weights.attach``; a tensor of another dtype than the graph's is cast in the graph.

    So SDXL's VAE, stored in float16 and computed in float32, can be linked where it lies.
    """
    kinds = {v.name: v.type for v in model.graph.inputs}
    attach(model, specs, folder, parameters)
    for name in parameters:
        value = model.graph.initializers[name]
        stored, wanted = value.const_value, kinds[name]
        assert stored is not None
        assert wanted is not None
        value.type = ir.TensorType(stored.dtype)
        if stored.dtype == wanted.dtype:
            continue
        users = [(use.node, use.idx) for use in value.uses()]
        props = dict(users[0][0].metadata_props)
        cast = ir.node(
            "Cast", [value], {"to": wanted.dtype}, name=f"{name}/Cast", metadata_props=props
        )
        cast.outputs[0].name = f"{name}/Cast"
        cast.outputs[0].type, cast.outputs[0].shape = wanted, value.shape
        for node, index in users:
            node.replace_input_with(index, cast.outputs[0])
        model.graph.insert_before(model.graph[0], cast)
