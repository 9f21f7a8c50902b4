"""What a file says it takes, read without its weights: ours or any with conventional names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import onnx

from exporter import metadata as meta
from exporter.conditions.controlnet import is_control
from exporter.conditions.ip_adapter import is_image_prompt
from exporter.conditions.lora import lora_specs
from exporter.conditions.residuals import conditions_in, with_conditions
from exporter.errors import UsageError
from exporter.json_text import json_object
from exporter.runtime.loading import load_proto
from exporter.types import Dtype, Source

_DTYPES: Mapping[int, Dtype] = {
    onnx.TensorProto.FLOAT: "fp32",
    onnx.TensorProto.FLOAT16: "fp16",
    onnx.TensorProto.BFLOAT16: "bf16",
}
_INTEGERS = (onnx.TensorProto.INT64, onnx.TensorProto.INT32)


@dataclass(frozen=True)
class Model:
    """What one of our files says it was made from.

    Attributes:
        name: Preset, folder name or hub id.
        random: Whether its weights are a preset's seeded ones.
        seed: That seed.
        revision: Hub commit, if any.
    """

    name: str
    random: bool
    seed: int
    revision: str | None


@dataclass(frozen=True)
class Contract:
    """The inputs of a file.

    Attributes:
        path: The file.
        types: ``TensorProto`` element type by input name.
        shapes: Axes by input name: a size where it is fixed, else its name or an empty text.
        metadata: Metadata of the model.
        defaults: Axes of the inputs that may be left out, by name.
    """

    path: Path
    types: Mapping[str, int]
    shapes: Mapping[str, tuple[int | str, ...]]
    metadata: Mapping[str, str]
    defaults: Mapping[str, tuple[int | str, ...]] = field(default_factory=dict)

    @property
    def dtype(self) -> Dtype:
        """What the file computes in, judged by ``sample``."""
        return _DTYPES[self.types["sample"]]

    @property
    def keep_fp32(self) -> tuple[str, ...]:
        """Modules that compute in float32 in a half file of ours."""
        kept = self._weights.get("keep_fp32", [])
        if not isinstance(kept, list) or not all(isinstance(path, str) for path in kept):
            raise UsageError(f"{self.path.name} keeps {kept!r} in float32", "module paths")
        return tuple(kept)

    @property
    def fused(self) -> tuple[str, ...]:
        """LoRAs that are baked into the weights of a file of ours, ``name=0.8`` each."""
        fused = self._weights.get("lora", [])
        if not isinstance(fused, list) or not all(isinstance(one, str) for one in fused):
            raise UsageError(f"{self.path.name} has {fused!r} in its weights", "LoRAs")
        return tuple(fused)

    @property
    def _weights(self) -> Mapping[str, Any]:
        key = meta.PREFIX + "weights"
        return json_object(self.metadata.get(key, "{}"), f"{key} of {self.path.name}")

    @property
    def model(self) -> Model | None:
        """What it was made from, if it is one of ours."""
        name = self.metadata.get(meta.PREFIX + "model")
        if not name:
            return None
        weights = self._weights
        seed = weights.get("seed", 0)
        if not isinstance(seed, int):
            raise UsageError(f"{self.path.name} has the seed {seed!r}", "a whole number")
        return Model(
            name,
            weights.get("source") == "random",
            seed,
            self.metadata.get(meta.PREFIX + "model.revision"),
        )

    def conditioned(self, source: Source) -> Source:
        """The model with the inputs of those conditions that the file takes.

        Raises:
            UsageError: The model has no place for them.
        """
        conditioned = with_conditions(source, conditions_in(self.types))
        return replace(conditioned, lora=lora_specs(self.defaults))

    def require(self, source: Source) -> None:
        """Refuse a file with other inputs than the model.

        Raises:
            UsageError: Naming what is missing or unknown.
        """
        wanted = {spec.name for spec in source.inputs}
        if wanted != set(self.types):
            raise UsageError(
                f"{self.path.name} has the inputs {', '.join(self.types)}",
                f"{', '.join(sorted(wanted))}, as {source.name} takes",
                self._hint(wanted),
            )

    def _hint(self, wanted: set[str]) -> str:
        """The option that tells of inputs which the model lacks."""
        unknown = set(self.types) - wanted
        options = {"--controlnet": is_control, "--ip-adapter": is_image_prompt}
        found = [option for option, known in options.items() if any(map(known, unknown))]
        return f"see {' and '.join(found) or '--model'}"

    @property
    def integer_timestep(self) -> bool:
        """Whether ``timestep`` is an integer in this file."""
        return self.types["timestep"] in _INTEGERS

    @property
    def timestep_per_sample(self) -> bool:
        """Whether ``timestep`` may be another for each sample."""
        axes = self.shapes["timestep"]
        return any(axis == "T" or "batch" in str(axis).lower() for axis in axes)


def read_contract(path: Path) -> Contract:
    """Read a file's inputs and metadata.

    Raises:
        UsageError: If it cannot be read, is no ONNX file, or has no ``sample``,
            ``timestep``, or one of an unknown type.
    """
    model = load_proto(path)
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    types = {value.name: value.type.tensor_type.elem_type for value in inputs}
    shapes = {value.name: _axes(value) for value in inputs}
    defaults = {v.name: _axes(v) for v in model.graph.input if v.name in constants}
    if not {"sample", "timestep"} <= set(types) or types["sample"] not in _DTYPES:
        raise UsageError(
            f"{path.name} has the inputs {', '.join(types) or 'none'}",
            "a UNet's: a floating point sample, and timestep",
        )
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    return Contract(path, types, shapes, metadata, defaults)


def _axes(value: onnx.ValueInfoProto) -> tuple[int | str, ...]:
    return tuple(
        dim.dim_value if dim.HasField("dim_value") else dim.dim_param
        for dim in value.type.tensor_type.shape.dim
    )
