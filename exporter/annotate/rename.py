"""Inputs under their conventional names while roles are read, and under their own after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import onnx_ir as ir

from exporter import metadata as meta

_KEYS = (meta.Q, meta.K, meta.V, meta.CONDITION)


def renamed(graph: ir.Graph, names: Mapping[str, str]) -> dict[str, str]:
    """Gives recognised inputs their conventional names.

    Args:
        graph: Flat; modified in place.
        names: The file's name by the conventional one.

    Returns:
        The way back: the file's name by the one that an input has now.
    """
    inputs = {value.name or "": value for value in graph.inputs}
    taken = {value.name for node in graph for value in node.outputs} | inputs.keys()
    back = {}
    for conventional, own in names.items():
        if own == conventional:
            continue
        if conventional in taken:  # somebody else's; nothing reads its name but people
            for value in (v for node in graph for v in node.outputs):
                if value.name == conventional:
                    value.name = f"{conventional}_value"
        inputs[own].name = conventional
        back[conventional] = own
    return back


def restore(model: ir.Model, back: Mapping[str, str]) -> None:
    """Gives inputs the file's names again, in what metadata say of them too."""
    for value in model.graph.inputs:
        value.name = back.get(value.name or "", value.name)
    for node in _nodes(model):
        for key in _KEYS:
            if key in node.metadata_props:
                named = node.metadata_props[key].split(",")
                node.metadata_props[key] = ",".join(back.get(name, name) for name in named)


def _nodes(model: ir.Model) -> Iterator[ir.Node]:
    yield from model.graph
    for function in model.functions.values():
        yield from function
