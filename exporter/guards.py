"""What an export refuses to write over, before any work."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import onnx

from exporter import metadata as meta
from exporter.errors import TargetError
from exporter.publish import variant_of
from exporter.types import Weights
from exporter.weights.store import written_by_us


def guard_target(target: Path) -> None:
    """Refuses, before any work, a target that could not be written.

    Raises:
        TargetError: The folder is missing or read-only, or the target is not a plain file.
    """
    folder = target.parent
    if not folder.is_dir():
        raise TargetError(f"there is no folder {folder}", do="create it")
    if target.is_dir():
        raise TargetError(f"{target} is a folder", "a file to write", "name the .onnx")
    if target.suffix != ".onnx":
        raise TargetError(f"{target.name} as output", "a name that ends in .onnx")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise TargetError(f"{folder} cannot be written to: {error.strerror}") from error


def guard_weights(target: Path, weights: Weights) -> None:
    """Refuses to copy weights over a file that no export wrote, or that is being exported.

    Raises:
        TargetError: ``model.safetensors`` beside ``model.onnx`` is someone's checkpoint.
    """
    place = target.with_suffix(".safetensors")
    exported = any(file.resolve() == place.resolve() for file in weights.files)
    if exported or (os.path.lexists(place) and not written_by_us(place)):
        raise TargetError(
            f"copied weights would replace {place}, "
            + ("which is being exported" if exported else "which no export wrote"),
            do="give the .onnx another name",
        )


def guard_variant(target: Path, *, wanted: bool, copy: bool) -> None:
    """Refuses to replace ``unet.ort.onnx`` where no export wrote it, or to leave it broken.

    Args:
        target: Where the portable model will be.
        wanted: A variant will be written beside it.
        copy: The weights that an older variant reads will be replaced.

    Raises:
        TargetError: The file beside ``target`` is someone's own, or would read other weights
            than those it was proven with.
    """
    place = variant_of(target)
    if not os.path.lexists(place):
        return
    ours = _is_variant(place)
    if wanted and not ours:
        raise TargetError(
            f"the variant would replace {place}, which no export wrote",
            do="give the .onnx another name",
        )
    if copy and ours and not wanted:
        raise TargetError(
            f"{place.name} reads the weights that this export replaces",
            do="add --optimize ort to write it anew, or remove it",
        )


def _is_variant(place: Path) -> bool:
    try:
        model = onnx.load(place, load_external_data=False)
    except Exception:  # protobuf raises a class without stubs; it is no ONNX file
        return False
    return any(entry.key == meta.VARIANT for entry in model.metadata_props)
