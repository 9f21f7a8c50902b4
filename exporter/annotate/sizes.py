"""Bookkeeping that no data passes through: what a Reshape's target is computed from."""

from __future__ import annotations

import onnx_ir as ir

from exporter import metadata as meta
from exporter.passes.names import free_name

_SIZES = ("Shape", "Size")


def mark_sizes(graph: ir.Graph) -> None:
    """Gives the role ``shape`` to what is computed from sizes alone.

    Other exporters spell it as Shape, Gather, Concat; our own hardly do.

    Args:
        graph: Flat and annotated; modified in place.
    """
    sized: set[ir.Node] = set()
    for node in graph:
        values = (v for v in node.inputs if v is not None and not v.is_initializer())
        makers = [value.producer() for value in values]
        if node.op_type in _SIZES or (makers and all(maker in sized for maker in makers)):
            sized.add(node)
            node.metadata_props[meta.ROLE] = "shape"
            for key in (meta.SIDE, meta.LEVEL):
                node.metadata_props.pop(key, None)


def localise_sizes(graph: ir.Graph) -> None:
    """Repeats each size in every module that reads it, so that none crosses a border.

    A size that two modules share can make each wait for the other once they are functions.

    Args:
        graph: Flat, with sizes marked; modified in place.
    """
    names: set[str | None] = {node.name for node in graph}
    names |= {value.name for node in graph for value in node.outputs}
    for node in reversed(list(graph)):
        if node.metadata_props[meta.ROLE] != "shape":
            continue
        readers: dict[str, list[tuple[ir.Node, int, int]]] = {}
        for index, value in enumerate(node.outputs):
            for use in value.uses():
                module = use.node.metadata_props[meta.MODULE]
                readers.setdefault(module, []).append((use.node, use.idx, index))
        for number, (module, uses) in enumerate(readers.items()):
            own = _copy(node, names) if number else node
            own.metadata_props[meta.MODULE] = module
            if number:
                graph.insert_after(node, own)
            for reader, slot, index in uses:
                reader.replace_input_with(slot, own.outputs[index])


def _copy(node: ir.Node, names: set[str | None]) -> ir.Node:
    copy = ir.Node(
        node.domain,
        node.op_type,
        node.inputs,
        node.attributes.values(),
        num_outputs=len(node.outputs),
        version=node.version,
        name=free_name(node.name or node.op_type, names),
        metadata_props=dict(node.metadata_props),
    )
    for mine, theirs in zip(copy.outputs, node.outputs, strict=True):
        mine.name = free_name(theirs.name or "", names)
        mine.shape, mine.type = theirs.shape, theirs.type
    return copy
