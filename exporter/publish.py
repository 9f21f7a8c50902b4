"""Model and weights into temporary siblings of the target, then into place."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir

from exporter import metadata as meta
from exporter.disk import synced
from exporter.errors import TargetError
from exporter.leftovers import BEFORE, locked, scratch


def variant_of(target: Path) -> Path:
    """Where the variant of ``unet.onnx`` for ONNX Runtime lies: ``unet.ort.onnx``."""
    return target.with_suffix(".ort.onnx")


@dataclass(frozen=True)
class Draft:
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
def drafted(target: Path, *, copy: bool, variant: bool = False) -> Iterator[Draft]:
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
            yield Draft(target, onnx, weights, variant_of(onnx) if variant else None, folder)
        finally:
            onnx.unlink(missing_ok=True)
            variant_of(onnx).unlink(missing_ok=True)


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
