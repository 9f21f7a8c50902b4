"""A model of a pipeline beside its UNet: a text encoder, or the decoder of the VAE."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from exporter.errors import CheckpointError, ConfigError
from exporter.json_text import json_object
from exporter.types import InputSpec, TensorSpec
from exporter.weights.checkpoint import Checkpoint


@dataclass(frozen=True)
class Part:
    """One model, understood; no weight is read.

    Attributes:
        name: Its folder in the pipeline: ``text_encoder``, ``text_encoder_2``, ``vae``.
        function: What the file calls it, e.g. ``TextEncoder``.
        class_name: Its class.
        config: As saved.
        weights: Of its folder.
        build: Makes the wrapper that is traced, parameters on the meta device.
        inputs: Of the wrapper.
        outputs: Names of what the wrapper returns.
        doc: Markdown for the function.
        role: A value of ``atlas.role``.
        upcast: Whether the pipeline computes it in float32 where it is stored in float16.
    """

    name: str
    function: str
    class_name: str
    config: Mapping[str, Any]
    weights: Checkpoint
    build: Callable[[], torch.nn.Module]
    inputs: tuple[InputSpec, ...]
    outputs: tuple[str, ...]
    doc: str
    role: str
    upcast: bool = False

    def spec(self, parameter: str) -> TensorSpec:
        """Where the checkpoint holds a parameter.

        Model classes of transformers have named their insides ``text_model.`` in some
        versions and not in others; a checkpoint may be of either kind.

        Raises:
            CheckpointError: Nowhere.
        """
        tensors = self.weights.tensors
        for name in (
            parameter,
            f"text_model.{parameter}",
            parameter.removeprefix("text_model."),
        ):
            if name in tensors:
                return tensors[name]
        raise CheckpointError(
            f"{self.name} needs {parameter}, which {self.weights.description} does not hold"
        )


def read_config(folder: Path) -> dict[str, Any]:
    """``config.json`` of a model's folder.

    Raises:
        ConfigError: There is none.
        UsageError: It is no JSON object.
    """
    file = folder / "config.json"
    if not file.is_file():
        raise ConfigError(f"no {file}", "a pipeline in diffusers' layout")
    return dict(json_object(file.read_bytes(), str(file)))


def open_weights(folder: Path, stem: str, variant: str | None) -> Checkpoint:
    """The safetensors file of a model's folder, or its shards.

    Args:
        folder: The model's.
        stem: ``model`` for transformers, ``diffusion_pytorch_model`` for diffusers.
        variant: As in ``from_pretrained``; the plain file where there is none of it.

    Raises:
        CheckpointError: None, or broken ones.
    """
    dotted = [f".{variant}", ""] if variant else [""]
    names = [
        name
        for dot in dotted
        for name in (f"{stem}{dot}.safetensors", f"{stem}.safetensors.index{dot}.json")
    ]
    for name in names:
        if (folder / name).is_file():
            return Checkpoint.open(folder / name)
    raise CheckpointError(f"{folder} holds no weights", " or ".join(names))
