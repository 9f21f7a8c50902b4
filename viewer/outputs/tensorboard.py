"""An event file whose Graphs tab shows the hierarchy, scopes and roles of an ``Atlas``.

It is a TensorFlow ``GraphDef`` written with the protobufs that TensorBoard brings along, so
neither TensorFlow nor torch is needed. TensorBoard groups nodes by the slashes in their names
and colours them by ``device``; the role goes there.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from viewer.disk import make_folder, write_whole
from viewer.extras import need
from viewer.model.atlas import Atlas
from viewer.model.tree import Node, Value
from viewer.outputs.scopes import Scopes
from viewer.targets import RUN

if TYPE_CHECKING:
    from tensorboard.compat.proto.graph_pb2 import GraphDef

INSTALL = "pip install tensorboard"
_DTYPES = {
    "FLOAT": 1,
    "DOUBLE": 2,
    "INT32": 3,
    "UINT8": 4,
    "INT16": 5,
    "INT8": 6,
    "STRING": 7,
    "INT64": 9,
    "BOOL": 10,
    "BFLOAT16": 14,
    "FLOAT16": 19,
}
"""ONNX element types as TensorFlow numbers them (types.proto)."""

_UNCOLOURED = ("shape", "conv_in", "conv_out", "block")
"""TensorBoard has ten colours, then begins again: these roles leave them to the others."""


def write(atlas: Atlas, folder: Path) -> Path:
    """Writes ``<folder>/<model>/events.out.tfevents...``: one model, one run.

    The file's name is the same each time, so a run is replaced, not added to.

    Args:
        atlas: A read model.
        folder: A log directory as in ``tensorboard --logdir``; made when it is missing.

    Returns:
        The event file.

    Raises:
        TargetError: TensorBoard is not installed, or the folder cannot be written to.
    """
    Event = need("tensorboard.compat.proto.event_pb2", INSTALL).Event  # noqa: N806
    when = atlas.file.path.stat().st_mtime
    graph = to_graph(atlas).SerializeToString()
    events = [
        Event(wall_time=when, file_version="brain.Event:2"),
        Event(wall_time=when, graph_def=graph),
    ]
    return write_run(events, folder, atlas.file.path.stem, RUN)


def write_run(events: Iterable[Any], folder: Path, run: str, name: str) -> Path:
    """Writes events as one run, ``<folder>/<run>/<name>``.

    Raises:
        TargetError: TensorBoard is not installed, or the folder cannot be written to.
    """
    records = need("tensorboard.summary.writer.record_writer", INSTALL)
    content = io.BytesIO()
    writer = records.RecordWriter(content)
    for event in events:
        writer.write(event.SerializeToString())
    target = folder / run / name
    make_folder(target.parent)
    write_whole(target, content.getvalue())
    return target


def to_graph(atlas: Atlas) -> GraphDef:
    """The model as a ``GraphDef``: every operator, the inputs and outputs, no weights.

    ``_output_shapes`` holds the sizes at the nominal resolution, which TensorBoard writes on
    edges; the attribute ``shape`` of each node has the symbols.
    """
    from tensorboard.compat.proto.graph_pb2 import GraphDef

    tree, scopes = atlas.tree, Scopes(atlas)
    graph = GraphDef()
    graph.versions.producer = 22
    for value, name in scopes.inputs.items():
        _port(graph, name, "Placeholder", atlas, tree.values[value])
    for leaf in tree.leaves:
        node = graph.node.add(
            name=scopes.names[leaf.id], op=leaf.op, device=_device(leaf.role)
        )
        node.input.extend(_sources(scopes, leaf))
        for key, text in scopes.facts(leaf).items():
            if key != "role":
                node.attr[key].s = _ascii(text)
        _shapes(node, atlas, [tree.values[value] for value in leaf.outputs])
    for value, name in scopes.outputs.items():
        origin = scopes.origin(tree.values[value])
        port = _port(graph, name, "Identity", atlas, tree.values[value])
        port.input.extend([_reference(*origin)] if origin else [])
    return graph


def _sources(scopes: Scopes, node: Node) -> list[str]:
    values = (scopes.atlas.tree.values[value] for value in node.inputs if value >= 0)
    origins = (scopes.origin(value) for value in values)
    return [_reference(*origin) for origin in origins if origin is not None]


def _reference(name: str, output: int) -> str:
    return f"{name}:{output}" if output else name


def _ascii(text: str) -> bytes:
    """TensorBoard shows any other byte of an attribute as an octal escape."""
    return text.replace("×", "x").encode("ascii", "replace")


def _device(role: str) -> str:
    """TensorBoard's legend lists only what looks like ``device:<kind>:<number>``."""
    return f"/device:{role}:0" if role and role not in _UNCOLOURED else ""


def _port(graph: GraphDef, name: str, op: str, atlas: Atlas, value: Value) -> Any:
    role = "time_embedding" if value.flow == "time" else ""
    node = graph.node.add(name=name, op=op, device=_device(role))
    if atlas.weights_note:
        node.attr["weights"].s = _ascii(atlas.weights_note)
    _shapes(node, atlas, [value])
    return node


def _shapes(node: Any, atlas: Atlas, values: list[Value]) -> None:
    shapes = node.attr["_output_shapes"].list.shape
    for value in values:
        written = shapes.add()
        if value.shape is None:
            written.unknown_rank = True
            continue
        for dim in value.shape:
            size = atlas.nominal.dim(dim)
            written.dim.add(size=-1 if size is None else size, name=str(dim or ""))
    if values and values[0].dtype in _DTYPES:
        node.attr["T"].type = _DTYPES[values[0].dtype]
