"""Every file that a command reads when it is given a model, a folder or a file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.targets import KINDS

if TYPE_CHECKING:
    import onnx


def parts_of_file(path: Path, what: str = "the model") -> Iterator[tuple[str, Path]]:
    """An .onnx and its external data, wherever it says that lies; nothing of it is trusted.

    Args:
        path: A file, perhaps not there or no model.
        what: What to call it.
    """
    yield what, path
    import onnx  # takes a moment, and a command with a bad argument should not

    try:
        model = onnx.load(path, "protobuf", load_external_data=False)
    except Exception:  # protobuf raises a class without stubs; told by whoever needs it
        return
    for location in sorted(set(_locations(model))):
        if "\0" not in location:
            yield f"{what}'s weights", path.parent / location


def parts_of_folder(
    place: str | Path | None, what: str = "the model"
) -> Iterator[tuple[str, Path]]:
    """A checkpoint, or what a diffusers folder and those in it hold, our own files aside.

    Args:
        place: A file or folder, perhaps not there; nothing for None or an empty text.
        what: What to call it.
    """
    path = Path(place or os.devnull)
    if path.is_file():
        yield what, path
    elif path.is_dir():
        inner = (folder for folder in path.iterdir() if folder.is_dir())
        for folder in (path, *sorted(inner)):
            yield from ((what, file) for file in sorted(folder.iterdir()) if _is_part(file))


def parts_of_loras(wishes: Iterable[str]) -> Iterator[tuple[str, Path]]:
    """The files of ``FILE`` or ``FILE=0.8``; both readings of a name that holds the sign."""
    for text in wishes:
        for name in {text, text.rpartition("=")[0] or text}:
            yield "a LoRA", Path(name).expanduser()


def _is_part(file: Path) -> bool:
    """Whether a file in a folder is read, rather than written by one of our commands."""
    try:
        return file.is_file() and not any(kind.holds(file) for kind in KINDS)
    except OSError:
        return True


def _locations(model: onnx.ModelProto) -> Iterator[str]:
    """Of external data, in tensors however deep."""
    yield from _graph_locations(model.graph)
    for function in model.functions:
        yield from _node_locations(function.node)


def _graph_locations(graph: onnx.GraphProto) -> Iterator[str]:
    for tensor in graph.initializer:
        yield from _tensor_locations(tensor)
    for sparse in graph.sparse_initializer:
        yield from _tensor_locations(sparse.values)
    yield from _node_locations(graph.node)


def _node_locations(nodes: Iterable[onnx.NodeProto]) -> Iterator[str]:
    for node in nodes:
        for attribute in node.attribute:
            for tensor in (attribute.t, *attribute.tensors):
                yield from _tensor_locations(tensor)
            for graph in (attribute.g, *attribute.graphs):
                yield from _graph_locations(graph)


def _tensor_locations(tensor: onnx.TensorProto) -> Iterator[str]:
    for entry in tensor.external_data:
        if entry.key == "location":
            yield entry.value
