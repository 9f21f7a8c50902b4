"""Modules that were traced once, copied to where they repeat; see ``exporter/repeats.py``."""

from __future__ import annotations

import onnx_ir as ir

from exporter import metadata as meta
from exporter.paths import is_inside, rebased

DOMAIN = "atlas.trace"


class ExpandRepeats(ir.passes.InPlacePass):
    """Replaces each ``Repeat`` by a copy of its template and drops the markers."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:  # noqa: D102
        graph = model.graph
        leaves = {_template(n): n for n in graph if _is(n, "Leave")}
        repeats = [n for n in graph if _is(n, "Repeat")]
        inputs = {value.name or "": value for value in graph.inputs}
        for repeat in repeats:  # in graph order: what a template repeats is expanded before it
            _expand(graph, repeat, leaves[_template(repeat)], inputs)
        markers = [n for n in graph if _is(n, "Enter") or _is(n, "Leave")]
        for marker in markers:
            (inner,) = marker.inputs
            assert inner is not None
            marker.outputs[0].replace_all_uses_with(inner, replace_graph_outputs=True)
            graph.remove(marker, safe=True)
        model.opset_imports.pop(DOMAIN, None)
        return ir.passes.PassResult(model, modified=bool(markers))


def _expand(
    graph: ir.Graph, repeat: ir.Node, leave: ir.Node, inputs: dict[str, ir.Value]
) -> None:
    old_path, new_path = (n.attributes["path"].as_string() for n in (leave, repeat))
    body = _body(leave)
    copied: dict[ir.Value, ir.Value] = {}

    def copy_of(value: ir.Value | None) -> ir.Value | None:
        if value is None or value in copied:
            return copied.get(value) if value is not None else None
        producer = value.producer()
        if producer is not None and _is(producer, "Enter") and _template(producer) == index:
            return repeat.inputs[producer.attributes["place"].as_int()]
        name = value.name or ""
        if value.is_graph_input() and is_inside(name, old_path):
            own = rebased(name, old_path, new_path)
            if own not in inputs:
                inputs[own] = ir.Value(name=own, shape=value.shape, type=value.type)
                graph.inputs.append(inputs[own])
            copied[value] = inputs[own]
            return inputs[own]
        return value  # a constant

    index = _template(leave)
    fresh = []
    for node in body:
        clone = ir.Node(
            node.domain,
            node.op_type,
            [copy_of(value) for value in node.inputs],
            list(node.attributes.values()),
            num_outputs=len(node.outputs),
            metadata_props=_moved(node.metadata_props, old_path, new_path),
        )
        if _is(node, "Leave"):
            inner = node.attributes["path"].as_string()
            clone.attributes["path"] = ir.AttrString(
                "path", rebased(inner, old_path, new_path)
            )
        for value, made in zip(node.outputs, clone.outputs, strict=True):
            made.shape, made.type = value.shape, value.type
            copied[value] = made
        fresh.append(clone)
    final = copy_of(leave.inputs[0])
    assert final is not None
    graph.insert_before(repeat, fresh)
    repeat.outputs[0].replace_all_uses_with(final, replace_graph_outputs=True)
    graph.remove(repeat, safe=True)


def _body(leave: ir.Node) -> list[ir.Node]:
    """Nodes between a template's markers, in graph order."""
    index, found, stack = _template(leave), set[ir.Node](), [leave.inputs[0]]
    while stack:
        value = stack.pop()
        node = value.producer() if value is not None else None
        if node is None or node in found:
            continue
        if _is(node, "Enter") and _template(node) == index:
            continue
        found.add(node)
        stack.extend(node.inputs)
    assert leave.graph is not None
    return [node for node in leave.graph if node in found]


def _moved(props: dict[str, str], old_path: str, new_path: str) -> dict[str, str]:
    moved = dict(props)
    if meta.MODULE in moved:
        moved[meta.MODULE] = rebased(moved[meta.MODULE], old_path, new_path)
    return moved


def _is(node: ir.Node, name: str) -> bool:
    return node.domain == DOMAIN and node.op_type == name


def _template(node: ir.Node) -> int:
    return int(node.attributes["template"].as_int())
