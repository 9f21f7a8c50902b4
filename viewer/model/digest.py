"""Whether a verdict is of the file that carries it: the digests of docs/FORMAT.md.

Written from that description alone; the exporter has its own implementation.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx

from viewer.errors import LocationError
from viewer.model.file import ModelFile

_ABOUT = {
    "atlas.model",
    "atlas.model.class",
    "atlas.model.config",
    "atlas.model.revision",
    "atlas.sampler",
    "atlas.text_to_image",
    "atlas.weights",
}
_HEADER_LIMIT = 100_000_000
_WORDS = (
    ("float_data", "<f4"),
    ("int32_data", "<i4"),
    ("int64_data", "<i8"),
    ("double_data", "<f8"),
    ("uint64_data", "<u8"),
)
_KINDS = onnx.AttributeProto.AttributeType

Row = tuple[Any, ...]


def graph_digest(file: ModelFile) -> str:
    """``graph`` of a verdict's ``digest``, of a model as it is now.

    Raises:
        ValueError: It holds text that is none.
        OSError: It can no longer be read.
    """
    proto = onnx.ModelProto.FromString(file.content)
    found = hashlib.sha256()
    for row in _Rows(file).model(proto):
        found.update(json.dumps(row, separators=(",", ":")).encode())
        found.update(b"\n")
    return f"sha256:{found.hexdigest()}"


def weights_digest(file: ModelFile, location: str) -> str:
    """One entry of ``weights`` of a verdict's ``digest``.

    Raises:
        LocationError: No such file belongs to the model.
        OSError: It cannot be read.
    """
    found = hashlib.sha256()
    with file.open(location) as opened:
        if location.endswith(".safetensors"):
            length = opened.read(8)
            found.update(length)
            found.update(opened.read(min(int.from_bytes(length, "little"), _HEADER_LIMIT)))
        size = os.fstat(opened.fileno()).st_size
    found.update(size.to_bytes(8, "little"))
    return f"sha256:{found.hexdigest()}"


def departure(file: ModelFile, claimed: object) -> str:
    """Why a verdict is not of this file; empty where it is.

    Args:
        file: The model as it is now.
        claimed: The verdict's ``digest``, which nobody has looked at yet.
    """
    weights = claimed.get("weights") if isinstance(claimed, Mapping) else None
    if not isinstance(claimed, Mapping) or not isinstance(weights, Mapping):
        return "nothing ties the verdict to this graph"
    try:
        if graph_digest(file) != claimed.get("graph"):
            return "the graph was changed since"
        if set(weights) != _outside(file):
            return "its weights are not those of the graph"
        if any(weights_digest(file, one) != value for one, value in weights.items()):
            return "the weights were changed since"
    except LocationError:
        return "its weights are not here"
    except (OSError, TypeError, ValueError):  # a name that is no text
        return "the file cannot be compared with it"
    return ""


def _outside(file: ModelFile) -> set[str]:
    return {*file.locations, *file.refused} - {file.path.name}


class _Rows:
    """The rows of a model, in the order of docs/FORMAT.md."""

    def __init__(self, file: ModelFile) -> None:
        self._file = file

    def model(self, proto: onnx.ModelProto) -> Iterator[Row]:
        about = {entry.key: entry.value for entry in proto.metadata_props}
        yield from (("about", key, about[key]) for key in sorted(_ABOUT & about.keys()))
        yield from _opsets(proto.opset_import)
        functions = {(f.domain, f.name, f.overload): f for f in proto.functions}
        for key in sorted(functions):
            function = functions[key]
            names = (function.input, function.output, function.attribute)
            yield ("function", *key, *map(list, names))
            yield from _opsets(function.opset_import)
            yield from self._attributes(function.attribute_proto)
            yield from self._nodes(function.node)
        yield from self._graph(proto.graph)

    def _graph(self, graph: onnx.GraphProto) -> Iterator[Row]:
        yield ("graph",)
        for value in graph.input:
            yield ("input", value.name, value.type.tensor_type.elem_type, _dims(value))
        for value in graph.output:
            yield ("output", value.name, value.type.tensor_type.elem_type, _dims(value))
        for tensor in sorted(graph.initializer, key=lambda tensor: tensor.name):
            yield self._tensor(tensor)
        for sparse in sorted(graph.sparse_initializer, key=lambda sparse: sparse.values.name):
            yield from self._sparse(sparse)
        yield from self._nodes(graph.node)

    def _nodes(self, nodes: Any) -> Iterator[Row]:
        for node in nodes:
            domain = node.domain if node.domain != "ai.onnx" else ""
            ends = list(node.input), list(node.output)
            yield ("node", domain, node.op_type, node.overload, *ends)
            yield from self._attributes(node.attribute)

    def _attributes(self, attributes: Any) -> Iterator[Row]:
        for one in sorted(attributes, key=lambda attribute: attribute.name):
            yield ("attribute", one.name, one.type, one.ref_attr_name, _value(one))
            yield from map(self._tensor, [one.t] if one.HasField("t") else [])
            if one.HasField("g"):
                yield from self._graph(one.g)
            if one.HasField("sparse_tensor"):
                yield from self._sparse(one.sparse_tensor)
            yield from map(self._tensor, one.tensors)
            for graph in one.graphs:
                yield from self._graph(graph)
            for sparse in one.sparse_tensors:
                yield from self._sparse(sparse)

    def _sparse(self, sparse: onnx.SparseTensorProto) -> Iterator[Row]:
        yield ("sparse", list(sparse.dims))
        yield self._tensor(sparse.values)
        yield self._tensor(sparse.indices)

    def _tensor(self, tensor: onnx.TensorProto) -> Row:
        kind = ("tensor", tensor.name, tensor.data_type, list(tensor.dims))
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            return (*kind, hashlib.sha256(_stored(tensor)).hexdigest())
        told = {entry.key: entry.value for entry in tensor.external_data}
        place, offset, length = (told.get(k, "") for k in ("location", "offset", "length"))
        if place != self._file.path.name:
            return (*kind, [place, offset, length])
        with self._file.path.open("rb") as opened:  # a large one, set aside on opening
            opened.seek(int(offset))
            return (*kind, hashlib.sha256(opened.read(int(length))).hexdigest())


def _opsets(imports: Any) -> Iterator[Row]:
    pairs = ((one.domain if one.domain != "ai.onnx" else "", one.version) for one in imports)
    yield from (("opset", *pair) for pair in sorted(pairs))


def _dims(value: onnx.ValueInfoProto) -> list[int | str | None] | None:
    if not value.type.tensor_type.HasField("shape"):
        return None
    found: list[int | str | None] = []
    for dim in value.type.tensor_type.shape.dim:
        known = dim.dim_value if dim.HasField("dim_value") else None
        found.append(known if known is not None else dim.dim_param or None)
    return found


def _value(one: onnx.AttributeProto) -> Any:
    if one.type == _KINDS.INT:
        return one.i
    if one.type == _KINDS.INTS:
        return list(one.ints)
    if one.type == _KINDS.STRING:
        return one.s.hex()
    if one.type == _KINDS.STRINGS:
        return [text.hex() for text in one.strings]
    if one.type == _KINDS.FLOAT:
        return np.float32(one.f).astype("<f4").tobytes().hex()
    if one.type == _KINDS.FLOATS:
        return np.array(one.floats, "<f4").tobytes().hex()
    return None


def _stored(tensor: onnx.TensorProto) -> bytes:
    if tensor.HasField("raw_data"):
        return tensor.raw_data
    data = b"".join(np.array(getattr(tensor, name), kind).tobytes() for name, kind in _WORDS)
    texts = (len(text).to_bytes(8, "little") + text for text in tensor.string_data)
    return data + b"".join(texts)
