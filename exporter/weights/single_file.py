"""A checkpoint in one ``.safetensors`` file, in the original layout: its UNet, in place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from exporter.errors import CheckpointError
from exporter.types import Prediction, TensorSpec
from exporter.weights.checkpoint import Checkpoint
from exporter.weights.header import read_header
from exporter.weights.original import Original

PREFIXES = ("model.diffusion_model.", "")
"""What stands before a UNet tensor's name: in a whole checkpoint, in a UNet of its own."""

_FIRST = "input_blocks.0.0.weight"
_PICKLED = (".ckpt", ".bin", ".pt", ".pth")

_STRANGERS: Mapping[str, str] = {
    "control_model.": "a ControlNet",
    "lora_unet_": "a LoRA",
    "joint_blocks.": "a diffusion transformer",
    "double_blocks.": "a diffusion transformer",
    "first_stage_model.": "no UNet, but an autoencoder",
    "encoder.conv_in.": "an autoencoder",
}
"""Beginnings of names, anywhere behind the prefix, that say what else a file is."""

VELOCITY = "v_pred"
"""An empty tensor by which trainers of SDXL mark a model that predicts velocity."""


@dataclass(frozen=True)
class SingleFile:
    """The UNet of a single-file checkpoint.

    Attributes:
        config: Its diffusers config, read off names and shapes.
        weights: Its tensors where they lie in the file, under their diffusers names.
        prediction: ``v_prediction`` where the file is marked so, else None: weights do not
            tell what they were trained to predict.
    """

    config: Mapping[str, Any]
    weights: Checkpoint
    prediction: Prediction | None


def open_single_file(path: Path) -> SingleFile:
    """Finds the UNet in a checkpoint of Stable Diffusion 1, 2, XL or the refiner.

    Only the header is read. Everything that is not the UNet (autoencoder, text encoders, an
    exponential moving average ``model_ema``) is left alone, as diffusers does by default.

    Args:
        path: A ``.safetensors`` file.

    Raises:
        CheckpointError: Pickled, broken, or no UNet in the original layout; says what it is.
        ConfigError: A UNet of another architecture.
    """
    if path.suffix in _PICKLED:
        raise CheckpointError(
            f"{path} is pickled, which can run code",
            "safetensors",
            "convert it where you trust it",
        )
    stored = read_header(path)
    prefix = next((p for p in PREFIXES if p + _FIRST in stored), None)
    if prefix is None:
        raise _not_a_unet(path, stored)
    own = {
        name.removeprefix(prefix): spec
        for name, spec in stored.items()
        if name.startswith(prefix)
    }
    original = Original({name: spec.shape for name, spec in own.items()}, path.name)
    config = original.config()
    marked = VELOCITY in stored
    doubt = original.prediction_is_open and not marked
    return SingleFile(
        config,
        Checkpoint([path], _renamed(own, original), _description(path, original, doubt=doubt)),
        "v_prediction" if marked else None,
    )


def _renamed(own: Mapping[str, TensorSpec], original: Original) -> dict[str, TensorSpec]:
    names = (
        (original.diffusers_name(name), spec) for name, spec in own.items() if name != VELOCITY
    )
    return {name: replace(spec, name=name) for name, spec in names}


def _description(path: Path, original: Original, *, doubt: bool) -> str:
    said = f"{path.name} ({original.kind})"
    if doubt:
        said += "; noise or velocity cannot be read off weights, see --prediction"
    return said


def _not_a_unet(path: Path, names: Iterable[str]) -> CheckpointError:
    bare = [name.removeprefix(PREFIXES[0]) for name in names]
    if any(name.startswith("conv_in.") for name in bare):
        return CheckpointError(
            f"{path} is a file with diffusers' tensor names",
            do="give the folder of its config.json",
        )
    known = (
        what for start, what in _STRANGERS.items() if any(n.startswith(start) for n in bare)
    )
    return CheckpointError(
        f"{path} is a file that holds {next(known, 'no UNet')}",
        f"a Stable Diffusion 1, 2, XL or refiner checkpoint, with {PREFIXES[0]}{_FIRST}",
    )
