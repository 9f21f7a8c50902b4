"""Edits of written files, folded or flat, from which faults and benign rewrites are made."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx_ir as ir

from exporter import metadata as meta

Edit = Callable[[ir.Model], None]
Body = ir.Graph | ir.Function
_NUMBERS = itertools.count()  # of added nodes: names are unique


def inject(path: Path, to: Path, edit: Edit) -> Path:
    """Writes the file with one edit beside itself; the weights' file is shared."""
    model = ir.load(path)
    for function in model.functions.values():
        ir.external_data.set_base_dir(function.graph, path.parent)
    edit(model)
    ir.save(model, to)
    return to


def nodes(model: ir.Model) -> Iterator[ir.Node]:
    yield from model.graph
    for function in model.functions.values():
        yield from function


def find(model: ir.Model, module: str, op_type: str, index: int = 0) -> ir.Node:
    found = [
        node
        for node in nodes(model)
        if node.op_type == op_type and node.metadata_props.get(meta.MODULE) == module
    ]
    assert found, f"no {op_type} in {module}"
    return found[index]


def call(model: ir.Model, module: str) -> ir.Node:
    """The call of a module's function."""
    return next(node for node in nodes(model) if node.domain == f"unet.{module}")


def _owner(node: ir.Node) -> Body:
    body = node.graph
    assert body is not None
    return body


def constant(before: ir.Node, array: np.ndarray) -> ir.Value:
    """A constant in the scope of a node, in front of it."""
    name = f"edit_constant_{next(_NUMBERS)}"
    node = ir.node("Constant", [], {"value": ir.tensor(array)}, name=name)
    node.outputs[0].name = name
    _owner(before).insert_before(before, node)
    return node.outputs[0]


Build = Callable[[Callable[..., ir.Value], ir.Value], ir.Value]
"""Given ``op(type, inputs, **attributes)`` and a value, makes another of it. Arrays among the
inputs become constants."""


def _operators(before: ir.Node) -> Callable[..., ir.Value]:
    def op(kind: str, *inputs: ir.Value | np.ndarray | None, **attributes: object) -> ir.Value:
        values = [
            constant(before, value) if isinstance(value, np.ndarray) else value
            for value in inputs
        ]
        node = ir.node(kind, values, attributes, name=f"edit_{kind}_{next(_NUMBERS)}")
        node.outputs[0].name = node.name
        _owner(before).insert_before(before, node)
        return node.outputs[0]

    return op


def change_input(node: ir.Node, index: int, build: Build) -> None:
    """What one node reads at ``index`` goes through ``build`` first."""
    value = node.inputs[index]
    assert value is not None
    node.replace_input_with(index, build(_operators(node), value))


def change_output(node: ir.Node, build: Build, index: int = 0) -> None:
    """Everybody reads what ``build`` makes of a node's output."""
    value = node.outputs[index]
    users = [(user, slot) for user, slot in value.uses()]
    body = _owner(node)
    following = list(body)
    after = following[following.index(node) + 1] if following[-1] is not node else None
    if after is None:  # a node to build in front of
        after = ir.node("Identity", [value], name=f"edit_end_{next(_NUMBERS)}")
        after.outputs[0].name = after.name
        body.append(after)
    made = build(_operators(after), value)
    made.type, made.shape = made.type or value.type, made.shape or value.shape
    for user, slot in users:
        if user is not made.producer():
            user.replace_input_with(slot, made)
    for slot, output in enumerate(body.outputs):
        if output is value:
            body.outputs[slot] = made
            made.name, value.name = value.name, f"{value.name}_before"


def change_graph_input(model: ir.Model, name: str, build: Build) -> None:
    """Everybody reads what ``build`` makes of a graph input, but for shape arithmetic."""
    value = next(v for v in model.graph.inputs if v.name == name)
    users = [(user, slot) for user, slot in value.uses() if user.op_type != "Shape"]
    made = build(_operators(next(iter(model.graph))), value)
    for user, slot in users:
        user.replace_input_with(slot, made)


def edit_constant(node: ir.Node, index: int, edit: Callable[[np.ndarray], object]) -> None:
    """Changes a copy of one constant operand, stored in the .onnx itself from then on.

    Args:
        node: Who reads it, perhaps transposed.
        index: Which operand.
        edit: Changes an array in place, or returns another of the same shape.
    """
    value = node.inputs[index]
    assert value is not None
    producer = value.producer()
    if producer is not None and producer.op_type == "Transpose":
        (value,) = producer.inputs
        assert value is not None
        producer = value.producer()
    held = value.const_value
    if held is None:
        assert producer is not None
        held = producer.attributes["value"].as_tensor()
    array = np.array(held.numpy())
    changed = edit(array)
    array = array if changed is None else np.asarray(changed, array.dtype).reshape(array.shape)
    tensor = ir.tensor(array, name=value.name)
    if producer is not None:
        producer.attributes["value"] = ir.AttrTensor("value", tensor)
    value.const_value = tensor


def swap(node: ir.Node, first: int, second: int) -> None:
    a, b = node.inputs[first], node.inputs[second]
    node.replace_input_with(first, b)
    node.replace_input_with(second, a)
