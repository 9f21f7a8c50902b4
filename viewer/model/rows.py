"""Nodes and values as the plain rows that the page is drawn from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from viewer.model.tree import Node, Value, Weight


def value_row(value: Value) -> list[Any]:
    """Name, shape, dtype, producer, flow: a row, for there are thousands."""
    return [value.name, value.shape, value.dtype, value.producer, value.flow]


def node_row(node: Node, locations: Sequence[str]) -> dict[str, Any]:
    """What is known of a node; empty fields are left out."""
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


def _weight(weight: Weight, locations: Sequence[str]) -> list[Any]:
    """Name, shape, dtype, index of its file (-1: in the graph), offset, length."""
    file = locations.index(weight.location) if weight.location in locations else -1
    return [weight.name, weight.shape, weight.dtype, file, weight.offset, weight.length]
