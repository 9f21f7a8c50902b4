"""What ties a verdict to the file that it was given for; docs/FORMAT.md defines both digests.

The viewer has its own implementation, and a test holds the two to each other.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import onnx
from onnx import AttributeProto as Attribute
from onnx import TensorProto as Tensor

from exporter import metadata as meta
from exporter.errors import UsageError
from exporter.runtime.loading import load_proto

ABOUT = tuple(
    meta.PREFIX + key
    for key in (
        "model",
        "model.class",
        "model.config",
        "model.revision",
        "sampler",
        "text_to_image",
        "weights",
    )
)
"""Metadata of the model that a verdict is about; nothing else of it is digested."""

_LENGTH = 8
_MAX_HEADER = 100_000_000  # safetensors' own limit


def digests(path: Path) -> dict[str, Any]:
    """``digest`` of a verdict: of the graph, and of each file of weights by its location.

    Args:
        path: A readable .onnx file, its external data beside it.

    Raises:
        UsageError: It is no model, holds text that is none, or its weights are not there.
    """
    graph = _Graph()
    try:
        graph.model(load_proto(path))
        places = sorted(graph.locations)
        weights = {name: weights_digest(path.parent / name) for name in places}
    except OSError as error:
        raise UsageError(f"{error.filename} cannot be read: {error.strerror}") from error
    return {"graph": f"sha256:{graph.sum.hexdigest()}", "weights": weights}


def weights_digest(file: Path) -> str:
    """Of a safetensors file's header and size, of any other file's size: no weight is read."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        head = opened.read(_LENGTH) if file.suffix == ".safetensors" else b""
        head += opened.read(min(int.from_bytes(head, "little"), _MAX_HEADER)) if head else b""
    return f"sha256:{hashlib.sha256(head + struct.pack('<Q', size)).hexdigest()}"


class _Graph:
    """Walks a model and adds a row for everything that decides what it computes."""

    def __init__(self) -> None:
        self.sum = hashlib.sha256()
        self.locations: set[str] = set()

    def row(self, *cells: Any) -> None:
        self.sum.update(json.dumps(cells, separators=(",", ":")).encode() + b"\n")

    def model(self, model: onnx.ModelProto) -> None:
        for entry in sorted(model.metadata_props, key=lambda one: one.key):
            if entry.key in ABOUT:
                self.row("about", entry.key, entry.value)
        self.opsets(model.opset_import)
        for function in sorted(model.functions, key=lambda f: (f.domain, f.name, f.overload)):
            self.row(
                "function",
                function.domain,
                function.name,
                function.overload,
                list(function.input),
                list(function.output),
                list(function.attribute),
            )
            self.opsets(function.opset_import)
            self.attributes(function.attribute_proto)
            self.nodes(function.node)
        self.graph(model.graph)

    def opsets(self, imports: Iterable[onnx.OperatorSetIdProto]) -> None:
        for domain, version in sorted((_domain(one.domain), one.version) for one in imports):
            self.row("opset", domain, version)

    def graph(self, graph: onnx.GraphProto) -> None:
        self.row("graph")
        for kind, values in (("input", graph.input), ("output", graph.output)):
            for value in values:
                self.row(kind, value.name, *_type(value.type))
        for tensor in sorted(graph.initializer, key=lambda one: one.name):
            self.tensor(tensor)
        for sparse in sorted(graph.sparse_initializer, key=lambda one: one.values.name):
            self.sparse(sparse)
        self.nodes(graph.node)

    def nodes(self, nodes: Iterable[onnx.NodeProto]) -> None:
        for node in nodes:
            name = (_domain(node.domain), node.op_type, node.overload)
            self.row("node", *name, list(node.input), list(node.output))
            self.attributes(node.attribute)

    def attributes(self, attributes: Iterable[Attribute]) -> None:
        for one in sorted(attributes, key=lambda one: one.name):
            self.row("attribute", one.name, one.type, one.ref_attr_name, _plain(one))
            if one.HasField("t"):
                self.tensor(one.t)
            if one.HasField("g"):
                self.graph(one.g)
            if one.HasField("sparse_tensor"):
                self.sparse(one.sparse_tensor)
            for tensor in one.tensors:
                self.tensor(tensor)
            for graph in one.graphs:
                self.graph(graph)
            for sparse in one.sparse_tensors:
                self.sparse(sparse)

    def sparse(self, sparse: onnx.SparseTensorProto) -> None:
        self.row("sparse", list(sparse.dims))
        self.tensor(sparse.values)
        self.tensor(sparse.indices)

    def tensor(self, tensor: Tensor) -> None:
        if tensor.data_location == Tensor.EXTERNAL:
            found = {entry.key: entry.value for entry in tensor.external_data}
            self.locations.add(found.get("location", ""))
            data: Any = [found.get(key, "") for key in ("location", "offset", "length")]
        else:
            data = hashlib.sha256(_data(tensor)).hexdigest()
        self.row("tensor", tensor.name, tensor.data_type, list(tensor.dims), data)


def _domain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _type(type_: onnx.TypeProto) -> tuple[int, list[int | str | None] | None]:
    """Element type and dimensions of a tensor: numbers, names, None where unknown."""
    tensor = type_.tensor_type
    if not tensor.HasField("shape"):
        return tensor.elem_type, None
    dims = (
        dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None
        for dim in tensor.shape.dim
    )
    return tensor.elem_type, list(dims)


def _plain(one: Attribute) -> Any:
    """The value of an attribute that is neither tensor nor graph; floats and text as hex."""
    match one.type:
        case Attribute.FLOAT:
            return struct.pack("<f", one.f).hex()
        case Attribute.INT:
            return one.i
        case Attribute.STRING:
            return one.s.hex()
        case Attribute.FLOATS:
            return struct.pack(f"<{len(one.floats)}f", *one.floats).hex()
        case Attribute.INTS:
            return list(one.ints)
        case Attribute.STRINGS:
            return [text.hex() for text in one.strings]
    return None


def _data(tensor: Tensor) -> bytes:
    """The stored values, little-endian, whichever field holds them."""
    if tensor.HasField("raw_data"):
        return tensor.raw_data
    fields = (
        ("f", tensor.float_data),
        ("i", tensor.int32_data),
        ("q", tensor.int64_data),
        ("d", tensor.double_data),
        ("Q", tensor.uint64_data),
    )
    data = b"".join(struct.pack(f"<{len(values)}{code}", *values) for code, values in fields)
    return data + b"".join(struct.pack("<Q", len(text)) + text for text in tensor.string_data)
