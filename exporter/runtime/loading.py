"""An .onnx file as a graph, read in one way by everyone."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
from google.protobuf.descriptor import FieldDescriptor  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from exporter.errors import UsageError


def load_proto(path: Path) -> onnx.ModelProto:
    """Reads a file, whatever its suffix; external weights stay where they are.

    Raises:
        UsageError: It cannot be read, or is no binary ONNX file.
    """
    try:
        model = onnx.load(path, "protobuf", load_external_data=False)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", "an .onnx file") from error
    except DecodeError as error:
        raise UsageError(f"cannot read {path}: {_what(path)}", "an .onnx file") from error
    if not _is_legible(model):
        raise UsageError(f"{path} holds names that are not UTF-8", "an .onnx file")
    return model


def load_graph(path: Path) -> ir.Model:
    """Reads a file as a graph; weights stay where they are if they are external.

    Entries that onnx_ir does not know are passed over without a word: a warning would be a
    second line beside a command's own.

    Raises:
        UsageError: It cannot be read, is no binary ONNX file, or holds a malformed graph.
    """
    proto = load_proto(path)
    with understood(path), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = ir.from_proto(proto)
        ir.external_data.set_base_dir(model.graph, path.parent)
    return model


@contextmanager
def understood(path: Path) -> Iterator[None]:
    """Within it, what onnx_ir says of a malformed graph is told in one line.

    Raises:
        UsageError: Naming the cause that lies beneath.
    """
    try:
        yield
    except (ir.serde.SerdeError, ir.passes.PassError, NotImplementedError, TypeError,
            ValueError) as error:  # fmt: skip
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        reason = " ".join(str(cause).split())[:200] or type(cause).__name__
        raise UsageError(f"{path.name} is malformed ({reason})", "a valid model") from error


def _is_legible(message: Any) -> bool:
    """Whether every text of a message is one: protobuf hands on bytes where it is not."""
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            parts = (value,) if hasattr(value, "ListFields") else value
            if not all(map(_is_legible, parts)):
                return False
        elif field.type == FieldDescriptor.TYPE_STRING:
            texts = (value,) if isinstance(value, str | bytes) else value
            if any(isinstance(text, bytes) for text in texts):
                return False
    return True


def _what(path: Path) -> str:
    """What a file is that protobuf cannot read: it begins with ``ir_version``, or is none."""
    with path.open("rb") as file:
        first = file.read(1)
    if first == b"\x08":
        return "it ends too early, or is damaged"
    text = first.isspace() or (first.isascii() and first.decode().isprintable())
    return "it is text, such as JSON or textual protobuf" if text else "it is no protobuf"
