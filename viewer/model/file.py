"""One .onnx and the files that belong to it; nothing else on the disk is ever opened."""

from __future__ import annotations

import os
import re
import stat
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from viewer.errors import LocationError, ModelError, cause
from viewer.model.text import make_legible
from viewer.model.weightless import without_weights


@dataclass(frozen=True)
class ModelFile:
    """An ONNX file as it lies on disk, without its weights.

    Attributes:
        path: The .onnx file.
        content: Its bytes with large tensors replaced by references (see ``without_weights``).
        model: The same, parsed; shapes inferred where the file has none.
        locations: External-data locations that may be served, to their files.
        refused: External-data locations that may not, with the reason.
        inferred: Whether shapes had to be inferred here.
    """

    path: Path
    content: bytes
    model: ir.Model
    locations: Mapping[str, Path]
    refused: Mapping[str, str]
    inferred: bool

    @property
    def parts(self) -> list[tuple[str, Path]]:
        """Everything on the disk that the model consists of, with what to call it."""
        named = [name for name in (*self.locations, *self.refused) if "\0" not in name]
        weights = [("its weights", self.path.parent / name) for name in named]
        return [("the model", self.path), *weights]

    def open(self, location: str) -> BinaryIO:
        """The file behind a location, opened without following a symbolic link.

        Raises:
            LocationError: The location is unknown, was refused or has changed since.
        """
        if location not in self.locations:
            raise LocationError(
                self.refused.get(location, f"{location!r} is not of this model")
            )
        path = _resolve(self.path, location)
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        try:
            return os.fdopen(os.open(path, flags), "rb")
        except OSError as error:
            raise LocationError(f"{location!r} cannot be opened ({error.strerror})") from error


MAX_NODES = 200_000
"""More operators than this are refused at once, unless asked for: about 4 kB of memory and
0.15 ms each."""


def read(path: Path, max_nodes: int = MAX_NODES) -> ModelFile:
    """Reads a model; memory is bounded by its graph, whatever its weights weigh.

    Args:
        path: An .onnx file, annotated by the exporter or not.
        max_nodes: How many operators its graph and functions may hold together.

    Raises:
        ModelError: It cannot be opened, is not an ONNX model, or holds too many operators.
    """
    content = without_weights(path)
    try:
        proto = onnx.ModelProto.FromString(content)
    except DecodeError as error:
        raise ModelError(f"{path} is not an ONNX file", "a binary ModelProto") from error
    make_legible(proto)
    if not proto.graph.node:
        raise ModelError(f"{path} holds no graph", "an ONNX model with nodes")
    count = len(proto.graph.node) + sum(len(function.node) for function in proto.functions)
    if count > max_nodes:
        raise ModelError(
            f"{path} holds {count} operators", f"at most {max_nodes}", "raise --max-nodes"
        )
    inferred = _lacks_shapes(proto)
    if inferred:
        proto = _infer(proto)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of entries that it does not know
            model = ir.from_proto(proto)
    except Exception as error:  # onnx_ir raises many kinds for a malformed graph
        raise ModelError(
            f"{path} is malformed ({cause(error)})", "a valid ONNX model"
        ) from error
    allowed: dict[str, Path] = {}
    refused: dict[str, str] = {}
    for location in sorted(set(_locations(proto))):
        try:
            allowed[location] = _resolve(path, location)
        except LocationError as error:
            refused[location] = str(error)
    return ModelFile(path, content, model, allowed, refused, inferred)


def _resolve(model: Path, location: str) -> Path:
    parts = re.split(r"[/\\]", location)
    if not location or "\0" in location or location.startswith(("/", "\\")) or ":" in parts[0]:
        raise LocationError(f"external data at {location!r} is refused: an absolute path")
    if ".." in parts:
        raise LocationError(f"external data at {location!r} is refused: it leaves the folder")
    path = model.parent
    for part in parts:
        path /= part
        if path.is_symlink() and path != model:
            raise LocationError(f"external data at {location!r} is refused: a symbolic link")
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise LocationError(f"external data at {location!r} is missing") from error
    if not stat.S_ISREG(mode):
        raise LocationError(f"external data at {location!r} is refused: not a regular file")
    return path


def _lacks_shapes(proto: onnx.ModelProto) -> bool:
    if proto.functions:
        return False
    listed = (*proto.graph.value_info, *proto.graph.output)
    known = {value.name for value in listed if value.type.tensor_type.HasField("shape")}
    made = {name for node in proto.graph.node for name in node.output if name}
    return len(made - known) > len(made) / 2


def _infer(proto: onnx.ModelProto) -> onnx.ModelProto:
    try:
        return onnx.shape_inference.infer_shapes(proto)
    except (RuntimeError, ValueError, onnx.shape_inference.InferenceError):
        # A graph that shape inference cannot digest is still worth showing without shapes.
        return proto


def _locations(proto: onnx.ModelProto) -> Iterator[str]:
    for function in proto.functions:
        yield from _node_locations(function.node)
    yield from _graph_locations(proto.graph)


def _graph_locations(graph: onnx.GraphProto) -> Iterator[str]:
    tensors = [*graph.initializer, *(sparse.values for sparse in graph.sparse_initializer)]
    for tensor in tensors:
        yield from _tensor_location(tensor)
    yield from _node_locations(graph.node)


def _node_locations(nodes: object) -> Iterator[str]:
    for node in nodes:  # type: ignore[attr-defined]
        for attribute in node.attribute:
            for tensor in (attribute.t, *attribute.tensors):
                yield from _tensor_location(tensor)
            for graph in (attribute.g, *attribute.graphs):
                yield from _graph_locations(graph)


def _tensor_location(tensor: onnx.TensorProto) -> Iterator[str]:
    for entry in tensor.external_data:
        if entry.key == "location":
            yield entry.value
