"""Weights out: streamed into one file, or linked where they already lie."""

from __future__ import annotations

import hashlib
import math
import os
import shutil
import stat
from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx_ir as ir
from safetensors import SafetensorError, safe_open

from exporter.errors import TargetError, UsageError
from exporter.types import DTYPES, Dtype, OnProgress, Progress, TensorSpec, Weights, quiet
from exporter.weights.header import encode_header

WRITER_KEY, WRITER = "written_by", "unet-atlas"
"""What marks, in its safetensors metadata, a file that an export may replace."""

_CHUNK = 1 << 24
_REMEDY = "write the .onnx beside or above the checkpoint's own file, or use --weights copy"


@dataclass(frozen=True)
class Stored:
    """A file of weights that was written.

    Attributes:
        specs: Where each tensor lies, by name.
        sha256: Of the whole file, in hexadecimal.
        nbytes: Size of the whole file.
    """

    specs: Mapping[str, TensorSpec]
    sha256: str
    nbytes: int


def copy_weights(
    weights: Weights,
    path: Path,
    dtype: Dtype,
    progress: OnProgress = quiet,
    order: Sequence[str] | None = None,
    keep_fp32: Sequence[str] = (),
    transposed: Collection[str] = (),
) -> Stored:
    """Streams all weights into one ``.safetensors`` file that diffusers can load too.

    Memory is bounded by the three largest tensors: one is read while another is written.
    The file is synced but not renamed; on any failure it is the caller's to remove.

    Args:
        weights: The values.
        path: File to create or overwrite, a temporary one beside the target.
        dtype: What floating point tensors become.
        progress: Told the bytes written.
        order: Names in the order of the file; by default tensors whose size is a multiple
            of 64 bytes come first, so that each of those lies aligned.
        keep_fp32: Paths of modules whose tensors become float32 instead.
        transposed: Names of matrices to store transposed; diffusers cannot load those.

    Raises:
        CheckpointError: A tensor cannot be read.
        TargetError: No room, or the file cannot be written.
    """
    stored = (weights.tensors[name] for name in order or weights.tensors)
    wanted = [_as_stored(_as(spec, DTYPES[dtype], keep_fp32), transposed) for spec in stored]
    if order is None:
        wanted.sort(key=_unaligned)
    header, specs = encode_header(wanted, path, {"format": "pt", WRITER_KEY: WRITER})
    nbytes = len(header) + sum(spec.nbytes for spec in specs)
    _check_room(path, nbytes)
    digest = hashlib.sha256(header)
    done = len(header)
    try:
        with (
            path.open("wb") as file,
            closing(_streamed(weights, specs, transposed)) as tensors,
        ):
            file.write(header)
            for data in tensors:
                digest.update(data)
                file.write(data)
                done += data.nbytes
                progress(Progress("weights", done, nbytes, "B"))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise TargetError(f"{path}: {error.strerror}", do="choose another place") from error
    return Stored({spec.name: spec for spec in specs}, digest.hexdigest(), nbytes)


def can_link(
    weights: Weights, onnx_dir: Path, dtype: Dtype, keep_fp32: Sequence[str] = ()
) -> str | None:
    """Why an .onnx in ``onnx_dir`` cannot point into these weights; None if it can.

    ONNX Runtime and ``onnx.checker`` refuse external data outside the model's folder and
    behind symbolic or hard links.
    """
    if not weights.files:
        return f"weights are {weights.description}: there is no checkpoint to link to"
    for spec in weights.tensors.values():
        if spec.file is None:
            return f"{spec.name} is computed: weights are {weights.description}"
        wanted = dtype_of(spec.name, DTYPES[dtype], keep_fp32)
        if spec.dtype != wanted:
            return f"{spec.name} is stored as {spec.dtype.numpy()}, not {wanted.numpy()}"
    for file in weights.files:
        reason = _unlinkable(file, onnx_dir)
        if reason:
            return reason
    return None


def link_weights(
    weights: Weights, onnx_dir: Path, dtype: Dtype, keep_fp32: Sequence[str] = ()
) -> dict[str, TensorSpec]:
    """Where each tensor already lies, for an .onnx in ``onnx_dir`` to point at.

    Returns:
        Specs by name; ``file`` is resolved and lies at or below ``onnx_dir.resolve()``.

    Raises:
        UsageError: Linking is impossible; says why.
    """
    reason = can_link(weights, onnx_dir, dtype, keep_fp32)
    if reason:
        raise UsageError(f"--weights link: {reason}", do=_REMEDY)
    return {
        name: replace(spec, file=spec.file.resolve() if spec.file else None)
        for name, spec in weights.tensors.items()
    }


def written_by_us(path: Path) -> bool:
    """Whether ``copy_weights`` made this file."""
    try:
        with safe_open(path, framework="np") as file:
            return bool((file.metadata() or {}).get(WRITER_KEY) == WRITER)
    except (OSError, SafetensorError):
        return False


def digest(files: Iterable[Path], progress: OnProgress = quiet) -> dict[str, str]:
    """SHA-256 of each file by its name, in hexadecimal.

    hashlib releases the interpreter lock, so this may run in a thread beside a trace.

    Raises:
        TargetError: A file cannot be read.
    """
    paths = list(files)
    done, sums = 0, {}
    try:
        total = sum(path.stat().st_size for path in paths)
        for path in paths:
            state, buffer = hashlib.sha256(), bytearray(_CHUNK)
            with path.open("rb", buffering=0) as file:
                while count := file.readinto(buffer):
                    state.update(memoryview(buffer)[:count])
                    done += count
                    progress(Progress("digest", done, total, "B"))
            name = path.name if path.name not in sums else f"{path.parent.name}/{path.name}"
            sums[name] = state.hexdigest()
    except OSError as error:
        raise TargetError(f"{error.filename}: {error.strerror}") from error
    return sums


def dtype_of(name: str, dtype: ir.DataType, keep_fp32: Sequence[str]) -> ir.DataType:
    """What a tensor becomes: float32 inside a kept module, else ``dtype``."""
    kept = any(not path or name.startswith(f"{path}.") for path in keep_fp32)
    return ir.DataType.FLOAT if kept else dtype


def _as(spec: TensorSpec, dtype: ir.DataType, keep_fp32: Sequence[str]) -> TensorSpec:
    if not spec.dtype.is_floating_point():
        return spec
    return replace(spec, dtype=dtype_of(spec.name, dtype, keep_fp32))


def _unaligned(spec: TensorSpec) -> bool:
    return int(spec.dtype.itemsize) * math.prod(spec.shape) % 64 != 0


def _as_stored(spec: TensorSpec, transposed: Collection[str]) -> TensorSpec:
    return replace(spec, shape=spec.shape[::-1]) if spec.name in transposed else spec


def _streamed(
    weights: Weights, specs: Sequence[TensorSpec], transposed: Collection[str]
) -> Generator[memoryview]:
    """Bytes of one tensor after another; the next is read and converted meanwhile."""

    def load(spec: TensorSpec) -> memoryview:
        stays = spec.dtype == weights.tensors[spec.name].dtype and spec.name not in transposed
        stored = weights.raw(spec.name) if stays else None
        return _converted(weights, spec, transposed) if stored is None else stored

    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(load, specs[0]) if specs else None
        for following in (*specs[1:], None):
            if ahead is None:
                return
            data = ahead.result()
            ahead = pool.submit(load, following) if following else None
            yield data


def _converted(weights: Weights, spec: TensorSpec, transposed: Collection[str]) -> memoryview:
    """The bytes of a tensor in another dtype, or transposed."""
    import torch
    from onnx_ir.tensor_adapters import to_torch_dtype

    tensor = weights.read(spec.name).to(to_torch_dtype(spec.dtype))
    tensor = (tensor.t() if spec.name in transposed else tensor).contiguous()
    raw: Any = tensor.reshape(-1).view(torch.uint8).numpy()
    return memoryview(raw)


def _check_room(path: Path, nbytes: int) -> None:
    try:
        free = shutil.disk_usage(path.parent).free
    except OSError as error:
        raise TargetError(f"{path.parent}: {error.strerror}") from error
    if free < nbytes:
        raise TargetError(
            f"{path.parent} has {free / 1e9:.2f} GB free",
            f"{nbytes / 1e9:.2f} GB for the weights",
            "free some, choose another place, or link the weights",
        )


def _unlinkable(file: Path, onnx_dir: Path) -> str | None:
    status = file.lstat()
    if stat.S_ISLNK(status.st_mode):
        return f"{file} is a symbolic link, as in the Hugging Face cache"
    if not stat.S_ISREG(status.st_mode):
        return f"{file} is not a regular file"
    if status.st_nlink > 1:
        return f"{file} is one of {status.st_nlink} hard links"
    if not file.resolve().is_relative_to(onnx_dir.resolve()):
        return f"{file} is not in {onnx_dir} or below it"
    return None
