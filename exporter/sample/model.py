"""What a written file says about itself before it is run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter import metadata as meta
from exporter.conditions.controlnet import CLASS as CONTROLNET
from exporter.errors import UsageError
from exporter.json_text import json_object
from exporter.runtime.loading import load_graph
from exporter.sample.stage import Stage, stage_in
from exporter.sampler.extract import unet_of
from exporter.values import dims


@dataclass(frozen=True)
class Model:
    """An annotated file.

    Attributes:
        path: The file.
        name: What was exported.
        class_name: Its diffusers class.
        config: Its diffusers config.
        size_multiple: Divisor of every height and width.
        inputs: Shape of each graph input, sizes and symbols.
        weights: ``atlas.weights``.
        prediction: ``atlas.prediction``; None where the file does not tell.
        stage: The sampling stage around the UNet; None where the file is one call of it.
    """

    path: Path
    name: str
    class_name: str
    config: Mapping[str, Any]
    size_multiple: int
    inputs: Mapping[str, tuple[int | str, ...]]
    weights: Mapping[str, Any]
    prediction: str | None = None
    stage: Stage | None = None

    @property
    def latent_channels(self) -> int:
        """Channels that are denoised; inputs beyond them are conditions."""
        told = self.config.get("out_channels")
        return told if isinstance(told, int) and told > 0 else self.channels

    @property
    def channels(self) -> int:
        """Channels of ``sample``."""
        return int(self.inputs["sample"][1])

    def width(self, name: str) -> int | None:
        """Channels of an input; None if the model has no such input, or one number a row.

        Raises:
            UsageError: The file leaves it open.
        """
        shape = self.inputs.get(name, ())
        if len(shape) < 2:
            return None
        if not isinstance(shape[-1], int):
            raise UsageError(f"{self.path.name} does not say how wide {name} is")
        return shape[-1]

    def size(self, asked: tuple[int, int] | None) -> tuple[int, int]:
        """Latent height and width: those asked for, else the config's own.

        Raises:
            UsageError: Sizes the model does not take.
        """
        own = self.config.get("sample_size") or 64
        sizes = asked or (own if isinstance(own, list) else [own, own])
        if len(sizes) != 2 or not all(isinstance(size, int) for size in sizes):
            raise UsageError(f"{self.path.name} has the sample_size {own!r}", do="see --size")
        height, width = sizes
        least = self.size_multiple
        if height % least or width % least or min(height, width) < 8:
            raise UsageError(
                f"latents of {height}x{width}", f"multiples of {least} from 8 up", "see --size"
            )
        return height, width


def read_model(path: Path) -> Model:
    """Reads the annotations of a file; weights stay where they are.

    Raises:
        UsageError: No such file, not ONNX, or not written by the exporter.
    """
    if not path.is_file():
        raise UsageError(f"there is no file {path}", "an .onnx written by python -m exporter")
    model = load_graph(path)
    props = model.metadata_props
    if meta.PREFIX + "model.config" not in props:
        raise UsageError(
            f"{path.name} carries no atlas annotations",
            "a file written by python -m exporter",
            "export it again",
        )
    if props.get(meta.PREFIX + "model.class") == CONTROLNET:
        raise UsageError(
            f"{path.name} is a ControlNet by itself",
            "a UNet's file",
            "export its UNet with --controlnet",
        )
    multiple = props.get(meta.PREFIX + "size_multiple", "1")
    if not (multiple.isascii() and multiple.isdecimal() and 0 < len(multiple) < 4):
        raise UsageError(f"{path.name} asks for multiples of {multiple!r}", "1 to 999")

    stage = stage_in(props, path.name)
    graph = unet_of(model, path).graph if stage else model.graph

    inputs = {value.name or "": dims(value) or () for value in graph.inputs}
    sample = inputs.get("sample", ())
    if len(sample) != 4 or not isinstance(sample[1], int) or sample[1] < 1:
        raise UsageError(f"{path.name} takes no sample of known channels", "a UNet's file")

    def read(key: str, default: str) -> dict[str, Any]:
        return json_object(props.get(meta.PREFIX + key, default), f"{key} of {path.name}")

    return Model(
        path=path,
        name=props.get(meta.PREFIX + "model", path.stem),
        class_name=props.get(meta.PREFIX + "model.class", ""),
        config=read("model.config", "{}"),
        size_multiple=int(multiple),
        inputs=inputs,
        weights=read("weights", "{}"),
        prediction=props.get(meta.PREFIX + "prediction"),
        stage=stage,
    )
