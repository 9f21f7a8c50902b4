"""Adding operators inside a model whose modules are functions; values lifted out, fed in."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from exporter.errors import UsageError
from exporter.sample.find import all_nodes

PREFIX = "watch"  # of every name that is added


class Scope:
    """The main graph or one function body: a place where nodes can be added.

    Args:
        body: The graph or function.
        anchor: Nodes are added before this one; at the end without.
        numbers: Where the names get their numbers from, shared by all scopes of one body.
    """

    def __init__(
        self,
        body: ir.Graph | ir.Function,
        anchor: ir.Node | None = None,
        numbers: Iterator[int] | None = None,
    ) -> None:
        self.body, self._anchor = body, anchor
        self._constants: dict[tuple[str, tuple[float, ...]], ir.Value] = {}
        self._numbers = itertools.count(1) if numbers is None else numbers

    def before(self, node: ir.Node) -> Scope:
        """The same place, where nodes are added before one of it."""
        return Scope(self.body, node, self._numbers)

    def op(
        self,
        op_type: str,
        inputs: Sequence[ir.Value],
        dtype: ir.DataType | None = ir.DataType.FLOAT,
        **attributes: Any,
    ) -> ir.Value:
        """Adds one operator and returns its result.

        Args:
            op_type: Of the default domain.
            inputs: Values of this scope.
            dtype: Element type of the result; None where it is not known.
            **attributes: Of the operator.
        """
        return self.ops(op_type, inputs, dtype, **attributes)[0]

    def ops(
        self,
        op_type: str,
        inputs: Sequence[ir.Value],
        dtype: ir.DataType | None = ir.DataType.FLOAT,
        *,
        count: int = 1,
        **attributes: Any,
    ) -> Sequence[ir.Value]:
        """Adds one operator of several results of one type; see ``op``."""
        name = self._name(op_type)
        node = ir.node(op_type, list(inputs), attributes, num_outputs=count, name=name)
        self._add(node)
        for index, value in enumerate(node.outputs):
            value.name = f"{name}_{index}" if index else name
            value.type = ir.TensorType(dtype) if dtype is not None else None
        return node.outputs

    def _add(self, node: ir.Node) -> None:
        if self._anchor is None:
            self.body.append(node)
        else:
            self.body.insert_before(self._anchor, node)

    def ints(self, *values: int) -> ir.Value:
        """A 1-D int64 constant."""
        return self._constant("ints", np.array(values, np.int64))

    def number(self, value: float) -> ir.Value:
        """A float32 scalar."""
        return self._constant("number", np.array(value, np.float32))

    def scalar_int(self, value: int) -> ir.Value:
        """An int64 scalar."""
        return self._constant("int", np.array(value, np.int64))

    def _constant(self, kind: str, array: np.ndarray[Any, Any]) -> ir.Value:
        key = (kind, tuple(array.reshape(-1).tolist()))
        if key not in self._constants:  # functions hold no initializers, so nodes everywhere
            node = ir.node("Constant", [], {"value": ir.tensor(array)}, name=self._name(kind))
            self._add(node)
            value = node.outputs[0]
            value.name = node.name
            value.type = ir.TensorType(ir.DataType.from_numpy(array.dtype))
            self._constants[key] = value
        return self._constants[key]

    def _name(self, what: str) -> str:
        return f"{PREFIX}/{what}_{next(self._numbers)}"


class Scopes:
    """Every scope of a model by the nodes in it.

    Args:
        model: A folded or flat model; modified by what is added.

    Raises:
        UsageError: A function is called more than once, or node names are not unique: then a
            name does not say where in the network a node is.
    """

    def __init__(self, model: ir.Model) -> None:
        self.model = model
        bodies: list[ir.Graph | ir.Function] = [model.graph, *model.functions.values()]
        self._scopes = {id(body): Scope(body) for body in bodies}
        self._nodes = {node.name: node for node in all_nodes(model)}
        self._calls: dict[int, ir.Node] = {}
        for node in all_nodes(model):
            function = model.functions.get(node.op_identifier())
            if function is not None:
                if id(function) in self._calls:
                    raise UsageError(
                        f"the function {function.name} is called twice",
                        "a file written by python -m exporter",
                    )
                self._calls[id(function)] = node
        if len(self._nodes) != sum(1 for _ in all_nodes(model)):
            raise UsageError("nodes share names", "a file written by python -m exporter")
        self._owner = {node.name: body for body in bodies for node in body}
        self._fed: dict[tuple[int, str], ir.Value] = {}

    def at(self, name: str) -> tuple[ir.Node, Scope]:
        """A node by name, and the scope it lies in."""
        return self._nodes[name], self._scopes[id(self._owner[name])]

    def before(self, name: str) -> tuple[ir.Node, Scope]:
        """A node by name, and where it lies, nodes being added before it."""
        node, scope = self.at(name)
        return node, scope.before(node)

    @property
    def top(self) -> Scope:
        """The main graph."""
        return self._scopes[id(self.model.graph)]

    def feed(
        self, name: str, dtype: ir.DataType, shape: Sequence[int | str], scope: Scope
    ) -> ir.Value:
        """An input of the model as a value of a scope, through every function around it.

        Args:
            name: Of the input, which is made where it is not there yet.
            dtype: Its element type.
            shape: Sizes and symbols.
            scope: Where it is wanted.
        """
        body = scope.body
        if (id(body), name) in self._fed:
            return self._fed[id(body), name]
        kind = ir.TensorType(dtype)
        value = ir.Value(name=name, shape=ir.Shape(shape), type=kind)
        if isinstance(body, ir.Function):
            call = self._calls[id(body)]
            outer = self.feed(name, dtype, shape, self._scopes[id(self._owner[call.name])])
            call.resize_inputs(len(body.inputs) + 1)
            call.replace_input_with(len(body.inputs), outer)
        body.inputs.append(value)
        self._fed[id(body), name] = value
        return value

    def lift(self, value: ir.Value, scope: Scope, name: str) -> None:
        """Makes a value an output of the model, through every function around it.

        Args:
            value: A value of ``scope``.
            scope: Where it was computed.
            name: Name of the output.
        """
        while isinstance(scope.body, ir.Function):
            scope.body.outputs.append(value)
            call = self._calls[id(scope.body)]
            call.resize_outputs(len(call.outputs) + 1)
            outer = call.outputs[-1]
            outer.name, outer.type = f"{PREFIX}/{name}", value.type
            value, scope = outer, self._scopes[id(self._owner[call.name])]
        value.name = name
        scope.body.outputs.append(value)
