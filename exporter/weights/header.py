"""The safetensors header, read without trusting it and written so that data lies aligned.

The format (huggingface/safetensors, README "Format"): 8 bytes little-endian length N, N bytes
of JSON, then one buffer. Each tensor says ``[begin, end)`` relative to that buffer; together
the tensors cover it without holes or overlaps.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import onnx_ir as ir

from exporter.errors import CheckpointError
from exporter.types import TensorSpec

DTYPES: Mapping[str, ir.DataType] = {
    "F64": ir.DataType.DOUBLE,
    "F32": ir.DataType.FLOAT,
    "F16": ir.DataType.FLOAT16,
    "BF16": ir.DataType.BFLOAT16,
    "F8_E4M3": ir.DataType.FLOAT8E4M3FN,
    "F8_E5M2": ir.DataType.FLOAT8E5M2,
    "I64": ir.DataType.INT64,
    "I32": ir.DataType.INT32,
    "I16": ir.DataType.INT16,
    "I8": ir.DataType.INT8,
    "U8": ir.DataType.UINT8,
    "BOOL": ir.DataType.BOOL,
}
_CODES = {dtype: code for code, dtype in DTYPES.items()}

_MAX_HEADER = 100_000_000  # the reference implementation's own limit
_ALIGNMENT = 64
_PYTORCH: Mapping[str, str] = {"format": "pt"}


def read_header(path: Path) -> dict[str, TensorSpec]:
    """Every tensor of one safetensors file, in file order.

    Args:
        path: A ``.safetensors`` file.

    Returns:
        Name to spec; ``offset`` counts from the start of the file, in bytes.

    Raises:
        CheckpointError: The file is unreadable, truncated or contradicts itself.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > min(size - 8, _MAX_HEADER):
                raise _broken(
                    path, f"its header claims {length:,} bytes in a file of {size:,}"
                )
            raw = file.read(length)
    except OSError as error:
        raise CheckpointError(f"{path}: {os.strerror(error.errno or 0)}") from error
    start = 8 + length
    specs = [
        _spec(path, name, entry, start)
        for name, entry in _parse(path, raw).items()
        if name != "__metadata__"
    ]
    specs.sort(key=lambda spec: (spec.offset, spec.nbytes))
    _check_cover(path, specs, start, size)
    return {spec.name: spec for spec in specs}


def encode_header(
    specs: Iterable[TensorSpec], file: Path, metadata: Mapping[str, str] = _PYTORCH
) -> tuple[bytes, list[TensorSpec]]:
    """A safetensors header for tensors laid out one after another.

    Args:
        specs: Name, dtype and shape of each tensor, in the order they will be written.
        file: The file they will be written to.
        metadata: The ``__metadata__`` entry.

    Returns:
        The header's bytes, padded so that data starts at a multiple of 64, and the specs
        with ``file``, absolute ``offset`` and ``nbytes`` set.
    """
    entries: dict[str, Any] = {"__metadata__": dict(metadata)}
    sized: list[tuple[TensorSpec, int, int]] = []
    end = 0
    for spec in specs:
        begin, end = end, end + math.prod(spec.shape) * int(spec.dtype.itemsize)
        entries[spec.name] = {
            "dtype": _CODES[spec.dtype],
            "shape": list(spec.shape),
            "data_offsets": [begin, end],
        }
        sized.append((spec, begin, end))
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % _ALIGNMENT)
    start = 8 + len(text)
    laid_out = [
        TensorSpec(spec.name, spec.dtype, spec.shape, file, start + begin, stop - begin)
        for spec, begin, stop in sized
    ]
    return len(text).to_bytes(8, "little") + text, laid_out


def _parse(path: Path, raw: bytes) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        entries = dict(pairs)
        if len(entries) != len(pairs):
            raise ValueError("a key is given twice")
        return entries

    try:
        entries = json.loads(raw, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise _broken(path, f"its header is not JSON ({error})") from error
    if not isinstance(entries, dict):
        raise _broken(path, "its header is not a JSON object")
    return entries


def _spec(path: Path, name: str, entry: Any, start: int) -> TensorSpec:
    try:
        code, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        numbers = [begin, end, *shape]
    except (KeyError, TypeError, ValueError) as error:
        raise _broken(path, f"{name}: its entry lacks dtype, shape or data_offsets") from error
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise _broken(path, f"{name}: shape or offsets are not natural numbers")
    if not isinstance(code, str) or code not in DTYPES:
        raise CheckpointError(
            f"{path}: {name}: unknown dtype {code!r}", "one of " + ", ".join(DTYPES)
        )
    nbytes = math.prod(shape) * int(DTYPES[code].itemsize)
    if end - begin != nbytes:
        raise _broken(
            path, f"{name}: {code} {shape} takes {nbytes:,} bytes, offsets say {end - begin:,}"
        )
    return TensorSpec(name, DTYPES[code], tuple(shape), path, start + begin, nbytes)


def _check_cover(path: Path, specs: list[TensorSpec], start: int, size: int) -> None:
    end = start
    for spec in specs:
        if spec.offset != end:
            fault = "overlaps the tensor before it" if spec.offset < end else "leaves a hole"
            raise _broken(path, f"{spec.name}: its data {fault} at byte {spec.offset:,}")
        end += spec.nbytes
        if end > size:
            raise _broken(
                path, f"{spec.name}: its data ends at byte {end:,} of a file of {size:,}"
            )
    if end != size:
        raise _broken(path, f"its tensors end at byte {end:,} of a file of {size:,}")


def _broken(path: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"{path}: {what}", "a whole safetensors file", "download or save it again"
    )
