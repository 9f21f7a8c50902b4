"""Model and weights into temporary siblings of the target, then into place."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir

from exporter import metadata as meta
from exporter.disk import synced
from exporter.errors import GraphError, TargetError
from exporter.leftovers import BEFORE, locked, scratch
from exporter.types import TensorSpec, Weights
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


def variant_of(target: Path) -> Path:
    """Where the variant of ``unet.onnx`` for ONNX Runtime lies: ``unet.ort.onnx``."""
    return target.with_suffix(".ort.onnx")


def _is_variant(place: Path) -> bool:
    try:
        model = onnx.load(place, load_external_data=False)
    except Exception:  # protobuf raises a class without stubs; it is no ONNX file
        return False
    return any(entry.key == meta.VARIANT for entry in model.metadata_props)


@dataclass(frozen=True)
class Stage:
    """Where files lie until they are proven.

    Attributes:
        target: Where the model will be.
        onnx: Where the model is written first.
        weights: Where copied weights are written first; None when they are linked.
        variant: Where the variant for ONNX Runtime is written first; None without one.
        old: Folder for what was in their places, until all are.
    """

    target: Path
    onnx: Path
    weights: Path | None
    variant: Path | None
    old: Path

    def publish(self) -> None:
        """Renames into place, the target last; whole files replace whole files.

        Two exports to one target do not mix: the renames together hold a lock on the folder.
        What was there comes back if the last rename does not happen.

        Raises:
            TargetError: The target cannot be replaced.
        """
        places = {
            self.weights: self.target.with_suffix(".safetensors"),
            self.variant: variant_of(self.target),
        }
        moves = [
            _Move(new, place, self.old / f"{place.name}{BEFORE}")
            for new, place in places.items()
            if new is not None
        ]
        try:
            with locked(self.target.parent), self._all_or_nothing(moves):
                for move in moves:
                    _keep(move)
                    move.new.replace(move.place)
                self.onnx.replace(self.target)
        except OSError as error:
            raise TargetError(f"{self.target} cannot be replaced: {error.strerror}") from error

    @contextlib.contextmanager
    def _all_or_nothing(self, moves: list[_Move]) -> Iterator[None]:
        try:
            yield
        finally:
            for move in moves if self.onnx.exists() else ():  # not published
                if move.before.exists():
                    move.before.replace(move.place)
                elif not move.new.exists():
                    move.place.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Move:
    """A file to put beside the target: from where, to where, where the old one waits."""

    new: Path
    place: Path
    before: Path


def _keep(move: _Move) -> None:
    """Gives what will be replaced a second name, so that at no time there is none."""
    if move.place.exists():
        try:
            os.link(move.place, move.before, follow_symlinks=False)
        except (OSError, NotImplementedError):  # without hard links
            move.place.replace(move.before)


@contextlib.contextmanager
def staged(target: Path, *, copy: bool, variant: bool = False) -> Iterator[Stage]:
    """A place beside ``target`` to write to, gone again however the export ends.

    Linked models are written in the target's own folder, since their external data must be
    named relative to it; copied ones in a folder of their own, weights under the final name.

    Raises:
        TargetError: The folder cannot be written to.
    """
    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(scratch(target))
        except OSError as error:
            reason = f"{target.parent} cannot be written to: {error.strerror}"
            raise TargetError(reason) from error
        onnx = folder / target.name if copy else target.parent / f"{folder.name}.onnx"
        try:
            weights = folder / target.with_suffix(".safetensors").name if copy else None
            yield Stage(target, onnx, weights, variant_of(onnx) if variant else None, folder)
        finally:
            onnx.unlink(missing_ok=True)
            variant_of(onnx).unlink(missing_ok=True)


def attach(
    model: ir.Model, specs: Mapping[str, TensorSpec], folder: Path, parameters: list[str]
) -> None:
    """Turns parameter inputs into initializers that lie in safetensors files.

    Args:
        model: A model whose parameters are inputs; modified in place.
        specs: Where each tensor lies.
        folder: Folder of the .onnx; every file is at or below it.
        parameters: Names of the parameter inputs.

    Raises:
        GraphError: The graph has a parameter that the weights lack.
    """
    graph = model.graph
    inputs = {value.name: value for value in graph.inputs}
    for name in parameters:
        value, spec = inputs[name], specs.get(name)
        if spec is None or spec.file is None:
            raise GraphError(f"the graph reads {name}, which the checkpoint does not hold")
        value.const_value = ir.ExternalTensor(
            location=spec.file.relative_to(folder).as_posix(),
            offset=spec.offset,
            length=spec.nbytes,
            dtype=spec.dtype,
            shape=ir.Shape(spec.shape),
            name=name,
            base_dir=folder,
        )
        graph.inputs.remove(value)
        graph.register_initializer(value)


def drop_transposes(model: ir.Model, transposed: Collection[str]) -> None:
    """Removes the Transposes of parameters that the file stores transposed already."""
    for name in transposed:
        value = model.graph.initializers[name]
        tensor = value.const_value
        assert tensor is not None
        value.shape = ir.Shape(list(tensor.shape.numpy()))
        for node in [use.node for use in value.uses()]:
            node.outputs[0].replace_all_uses_with(value)
            model.graph.remove(node, safe=True)


def write(model: ir.Model, path: Path, properties: Mapping[str, Any]) -> None:
    """Writes the model with its metadata; external data is left where it is.

    An initializer has its shape itself: a second one in ``value_info`` would be wrong as soon
    as a tool rewrites the tensor (ONNX Runtime's quantizer transposes those of Gemm).

    Args:
        model: The model.
        path: File to write, synced before return.
        properties: ``atlas.`` keys without prefix; values that are not text become JSON.

    Raises:
        TargetError: The disk is full or the folder unwritable.
    """
    for key, value in properties.items():
        text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
        model.metadata_props[meta.PREFIX + key] = text
    graph = (proto := ir.to_proto(model)).graph
    stored = {tensor.name for tensor in graph.initializer}
    told = [value for value in graph.value_info if value.name not in stored]
    del graph.value_info[:]
    graph.value_info.extend(told)
    with synced(path) as file:
        file.write(proto.SerializeToString())
