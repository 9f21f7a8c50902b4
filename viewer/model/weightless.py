"""An ONNX file without the bytes of its weights, read without reading them.

A model below 2 GB may carry its weights inside. The walk below goes down the protobuf
wire format only where a message is long enough to hold one, and replaces the data of every
large tensor by a reference to its place in the very same file (``location`` is the file's
own name), as ONNX does for external data. Source: onnx.proto3 and protobuf's encoding page.
"""

from __future__ import annotations

import mmap
from pathlib import Path

from viewer.errors import ModelError

LARGE = 4096
"""Tensors whose data is longer than this many bytes stay on disk."""

# Message -> field number -> message, for the ways that lead to a TensorProto.
_CHILDREN = {
    "Model": {7: "Graph", 25: "Function"},
    "Graph": {1: "Node", 5: "Tensor", 15: "Sparse"},
    "Function": {7: "Node"},
    "Node": {5: "Attribute"},
    "Attribute": {
        5: "Tensor",
        6: "Graph",
        10: "Tensor",
        11: "Graph",
        22: "Sparse",
        23: "Sparse",
    },
    "Sparse": {1: "Tensor", 2: "Tensor"},
}
_RAW_DATA, _FLOAT_DATA, _EXTERNAL, _LOCATION = 9, 4, 13, 14

Buffer = mmap.mmap | bytes


def without_weights(path: Path) -> bytes:
    """The model's bytes, every large inline tensor turned into a reference.

    Args:
        path: An ONNX file in binary protobuf form.

    Returns:
        A ModelProto that is equal but for the data of large tensors.

    Raises:
        ModelError: The file cannot be opened or is not protobuf.
    """
    try:
        with path.open("rb") as file:
            if path.stat().st_size == 0:
                raise ModelError(f"{path} is empty", "an .onnx file")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                _require_binary(path, data[:1])
                return _rewrite(data, 0, len(data), "Model", path.name.encode())
    except TruncatedError as error:
        raise ModelError(f"{path} ends too early", "a whole .onnx", "copy it again") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise ModelError(f"{path} cannot be opened ({reason})", "an .onnx file") from error
    except (IndexError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} is not an ONNX file", "a binary ModelProto") from error


class TruncatedError(ValueError):
    """A message is longer than the file."""


def _require_binary(path: Path, first: bytes) -> None:
    """A ModelProto begins with its first field, ``ir_version``; text with anything else."""
    if (
        first != b"\x08"
        and first.isascii()
        and (first.decode().isprintable() or first.isspace())
    ):
        raise ModelError(
            f"{path} is text, such as JSON or textual protobuf", "a binary ModelProto"
        )


def _varint(data: Buffer, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("varint too long")


def _encode(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(number: int, content: bytes) -> bytes:
    return _encode(number << 3 | 2) + _encode(len(content)) + content


def _skip(data: Buffer, at: int, wire: int) -> int:
    if wire == 0:
        return _varint(data, at)[1]
    if wire == 1:
        return at + 8
    if wire == 5:
        return at + 4
    raise ValueError(f"wire type {wire}")


def _rewrite(data: Buffer, at: int, end: int, kind: str, own: bytes) -> bytes:
    out: list[bytes] = []
    kept = at
    while at < end:
        start = at
        key, at = _varint(data, at)
        if key & 7 != 2:
            at = _skip(data, at, key & 7)
            continue
        length, at = _varint(data, at)
        if at + length > end:
            raise TruncatedError
        content = at
        at += length
        replacement = _replace(data, key >> 3, content, length, kind, own)
        if replacement is not None:
            out += (data[kept:start], replacement)
            kept = at
    if at != end:
        raise TruncatedError
    out.append(data[kept:end])
    return b"".join(out)


def _replace(
    data: Buffer, number: int, at: int, length: int, kind: str, own: bytes
) -> bytes | None:
    if length <= LARGE:
        return None
    if kind == "Tensor":
        if number not in (_RAW_DATA, _FLOAT_DATA):
            return None
        entries = {b"location": own, b"offset": b"%d" % at, b"length": b"%d" % length}
        pairs = (_field(1, key) + _field(2, value) for key, value in entries.items())
        reference = b"".join(_field(_EXTERNAL, pair) for pair in pairs)
        return reference + _encode(_LOCATION << 3) + _encode(1)
    child = _CHILDREN.get(kind, {}).get(number)
    if child is None:
        return None
    return _field(number, _rewrite(data, at, at + length, child, own))
