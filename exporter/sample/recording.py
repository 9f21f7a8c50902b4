"""One recording as one safetensors file, written in place step by step.

All shapes are known before the first step, so the header is written first and every later
value has its place: memory does not grow with the number of steps. docs/RECORDING.md lists
the tensors. safetensors, because every reader of the ecosystem opens it, a slice costs one
seek, and it is a dependency already.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch
from onnx_ir.tensor_adapters import from_torch_dtype

from exporter.errors import TargetError
from exporter.leftovers import SUFFIX, lock, locked, remove_stale
from exporter.runtime.session import Array
from exporter.types import TensorSpec
from exporter.weights.header import encode_header

FORMAT_VERSION = "1"
PREFIX = "atlas.recording."


class Recording:
    """A file being written beside its target, and renamed when it is whole.

    Args:
        target: The file to be.
        tensors: Dtype and shape of each tensor; the first axis is the step.
        metadata: JSON values by key, without prefix.

    Raises:
        TargetError: The file cannot be written there, or there is no room.
    """

    def __init__(
        self,
        target: Path,
        tensors: Mapping[str, tuple[torch.dtype, tuple[int, ...]]],
        metadata: Mapping[str, Any],
    ) -> None:
        self.target = target
        specs = [
            TensorSpec(name, from_torch_dtype(dtype), shape)
            for name, (dtype, shape) in tensors.items()
        ]
        texts = {PREFIX + key: json.dumps(value) for key, value in metadata.items()}
        texts["format"] = "pt"
        header, laid_out = encode_header(specs, target, texts)
        self._specs = {spec.name: spec for spec in laid_out}
        self.nbytes = len(header) + sum(spec.nbytes for spec in laid_out)
        self._temporary = target.with_name(f".{target.stem}-{os.getpid()}{SUFFIX}")
        try:
            with locked(target.parent):
                remove_stale(target)
                self._file = self._temporary.open("w+b")
                lock(self._file.fileno())
        except OSError as error:
            raise _unwritable(target, error) from error
        try:
            self._file.write(header)
            self._file.truncate(self.nbytes)
        except OSError as error:
            self._discard()
            raise _unwritable(target, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._discard()
            return
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._temporary.replace(self.target)
        except OSError as failure:
            self._discard()
            raise _unwritable(self.target, failure) from failure

    def put(self, name: str, step: int, value: npt.ArrayLike) -> None:
        """Writes one step of one tensor, cast to the tensor's dtype.

        Raises:
            TargetError: The disk is full.
        """
        spec = self._specs[name]
        data = np.broadcast_to(np.asarray(value), spec.shape[1:]).astype(_numpy(spec.dtype))
        try:
            self._file.seek(self._offset(spec, step))
            self._file.write(np.ascontiguousarray(data).data)
        except OSError as error:
            raise _unwritable(self.target, error) from error

    @property
    def place(self) -> Path:
        """The file as it grows: a hidden sibling of the target."""
        return self._temporary

    def flush(self) -> None:
        """Lets other programs see what was written.

        Raises:
            TargetError: The disk is full.
        """
        try:
            self._file.flush()
        except OSError as error:
            raise _unwritable(self.target, error) from error

    def get(self, name: str, step: int) -> Array:
        """Reads back one step of one tensor."""
        spec = self._specs[name]
        self._file.seek(self._offset(spec, step))
        data = self._file.read(spec.nbytes // spec.shape[0])
        return np.frombuffer(data, _numpy(spec.dtype)).reshape(spec.shape[1:])

    def _offset(self, spec: TensorSpec, step: int) -> int:
        if not 0 <= step < spec.shape[0]:
            raise IndexError(f"step {step} of {spec.name} {spec.shape}")
        return spec.offset + step * (spec.nbytes // spec.shape[0])

    def _discard(self) -> None:
        self._file.close()
        self._temporary.unlink(missing_ok=True)


def _numpy(dtype: ir.DataType) -> np.dtype[Any]:
    return dtype.numpy()


def _unwritable(target: Path, error: OSError) -> TargetError:
    return TargetError(f"{target}: {error.strerror}", do="choose another place")
