"""An ``Atlas`` as the plain data that the page is drawn from (``/m/0/atlas.json``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from viewer.tree import Node, Value, Weight

if TYPE_CHECKING:
    from viewer.atlas import Atlas


def payload(atlas: Atlas) -> dict[str, Any]:
    """Every field is text, a number, a list or a mapping; empty ones are left out of nodes."""
    tree = atlas.tree
    locations = list(atlas.file.locations)
    return {
        "format": 1,
        "name": atlas.name,
        "file": atlas.file.path.name,
        "class": atlas.metadata.get("atlas.model.class", ""),
        "metadata": {k: v for k, v in atlas.metadata.items() if k != "atlas.model.config"},
        "config": dict(atlas.config),
        "parity": dict(atlas.parity),
        "weights": dict(atlas.weights),
        "nominal": vars(atlas.nominal),
        "params": atlas.params,
        "flops": atlas.flops,
        "missing": list(atlas.missing),
        "locations": locations,
        "refused": dict(atlas.file.refused),
        "inputs": list(tree.inputs),
        "outputs": list(tree.outputs),
        "top": list(tree.top),
        "values": [_value(value) for value in tree.values],
        "nodes": [_node(node, locations) for node in tree.nodes],
        "blocks": [vars(b) | {"parts": [vars(p) for p in b.parts]} for b in atlas.blocks],
        "skips": [vars(skip) for skip in atlas.skips],
        "injections": [vars(injection) for injection in atlas.injections],
        "attentions": [vars(attention) for attention in atlas.attentions],
        "roles": {role: list(ids) for role, ids in atlas.parts.items()},
    }


def _value(value: Value) -> list[Any]:
    """Name, shape, dtype, producer, flow: a row, for there are thousands."""
    return [value.name, value.shape, value.dtype, value.producer, value.flow]


def _node(node: Node, locations: list[str]) -> dict[str, Any]:
    full: dict[str, Any] = {
        "parent": node.parent,
        "kind": node.kind,
        "path": node.path,
        "name": node.name,
        "op": node.op,
        "domain": node.domain,
        "module": node.module,
        "role": node.role,
        "side": node.side,
        "level": node.level,
        "class": node.cls,
        "source": node.source,
        "in": list(node.inputs),
        "out": list(node.outputs),
        "formals": list(node.formals),
        "locals": list(node.locals),
        "weights": [_weight(weight, locations) for weight in node.weights],
        "attributes": dict(node.attributes),
        "doc": node.doc,
        "params": node.params,
        "flops": node.flops,
        "children": list(node.children),
    }
    return {key: value for key, value in full.items() if value not in (None, "", [], {})}


def _weight(weight: Weight, locations: list[str]) -> list[Any]:
    """Name, shape, dtype, index of its file (-1: in the graph), offset, length."""
    file = locations.index(weight.location) if weight.location in locations else -1
    return [weight.name, weight.shape, weight.dtype, file, weight.offset, weight.length]
