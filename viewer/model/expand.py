"""From an ONNX model with local functions to a ``Tree``: every call opened in place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import onnx_ir as ir

from viewer.errors import ModelError
from viewer.model.names import Links, relative
from viewer.model.tree import ABSENT, WEIGHT, Node, Tree, Value, Weight
from viewer.model.values import (
    attributes,
    captured,
    dtype_of,
    module_path,
    shape_of,
    weight,
)
from viewer.numbers import count

NODE_LIMIT = 30_000
"""Calls may multiply: a small hostile file must not expand without end. More stay closed."""

DEPTH_LIMIT = 100
"""Calls inside calls; a UNet's go about ten deep."""


def expand(model: ir.Model) -> Tree:
    """Opens every function call in place.

    Args:
        model: A model, with or without local functions and metadata.

    Returns:
        The hierarchy of calls; without functions, all nodes are at the top.

    Raises:
        ModelError: Functions call one another more than ``DEPTH_LIMIT`` deep.
    """
    builder = _Builder(model)
    graph = model.graph
    scope: dict[ir.Value, int] = {}
    for value in graph.initializers.values():
        builder.constants[value] = weight(value.name or "", value.const_value)
    inputs = []
    for value in graph.inputs:
        if value not in builder.constants:
            scope[value] = builder.value(value, None)
            inputs.append(scope[value])
    top = builder.scope(graph, scope, None, "", "")
    outputs = tuple(scope[value] for value in graph.outputs if value in scope)
    nodes = tuple(node for node in builder.nodes if node is not None)
    values = tuple(builder.values)
    return Tree(nodes, values, tuple(inputs), outputs, tuple(top), builder.truncated)


def _formals(function: ir.Function | None, body: ir.Graph | None) -> tuple[str, ...]:
    """Names of a function's inputs, or of what a loop carries."""
    values = function.inputs if function else body.inputs[2:] if body is not None else ()
    return tuple(value.name or "" for value in values)


@dataclass
class _Builder:
    model: ir.Model
    nodes: list[Node | None] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    constants: dict[ir.Value, Weight] = field(default_factory=dict)
    open_calls: list[ir.OperatorIdentifier] = field(default_factory=list)
    seen_weights: set[tuple[str, int]] = field(default_factory=set)
    truncated: bool = False

    def value(self, value: ir.Value, producer: int | None) -> int:
        name = value.name or ""
        known = Value(len(self.values), name, shape_of(value), dtype_of(value), producer)
        self.values.append(known)
        return known.id

    def scope(
        self,
        nodes: Iterable[ir.Node],
        scope: dict[ir.Value, int],
        parent: int | None,
        prefix: str,
        around: str,
    ) -> list[int]:
        """Expands a graph, or the body of a call of the module ``around``; its nodes."""
        links = Links(prefix)
        made: list[int] = []
        for node in nodes:
            if self.constant(node):
                continue
            segment = relative(module_path(node), around) or node.op_type
            made.append(self.node(node, scope, parent, links.link(segment)))
        return made

    def constant(self, node: ir.Node) -> bool:
        if node.op_type != "Constant" or node.domain not in ("", "ai.onnx"):
            return False
        output = node.outputs[0]
        attribute, name = node.attributes.get("value"), output.name or ""
        if attribute is not None and attribute.type == ir.AttributeType.TENSOR:
            self.constants[output] = weight(name, attribute.value)
        else:
            self.constants[output] = Weight(name, (), "", 0)  # type: ignore[arg-type]
        return True

    def node(
        self, node: ir.Node, scope: dict[ir.Value, int], parent: int | None, path: str
    ) -> int:
        identifier = len(self.nodes)
        self.nodes.append(None)  # completed below: what is inside a call comes after it
        function = self.model.functions.get(node.op_identifier())
        if function is not None and node.op_identifier() in self.open_calls:
            function = None  # ONNX forbids recursion; a hostile file may not know
        if function is not None and len(self.nodes) > NODE_LIMIT:
            function, self.truncated = None, True
        inputs = [ABSENT if v is None else scope.get(v, WEIGHT) for v in node.inputs]
        weights = [self.constants[v] for v in node.inputs if v in self.constants]
        children: list[int] = []
        body = self.body(node)
        if body is not None:
            inputs += captured(node, scope)
            children = self.rounds(node, body, scope, identifier, path)
        elif function is None:
            inputs += captured(node, scope)
            for value in node.outputs:
                if value.name:  # an optional result that nobody asked for has none
                    scope[value] = self.value(value, identifier)
        else:
            children = self.call(node, function, scope, identifier, path)
        self.nodes[identifier] = Node(
            id=identifier,
            parent=parent,
            kind="call" if function else "group" if body is not None else "op",
            path=path,
            name=node.name or "",
            op=node.op_type,
            domain="" if node.domain == "ai.onnx" else node.domain,
            metadata=dict(node.metadata_props),
            module=module_path(node),
            side=node.metadata_props.get("atlas.side", ""),
            level=count(node.metadata_props.get("atlas.level", "")),
            inputs=tuple(inputs),
            outputs=tuple(scope[v] for v in node.outputs if v in scope),
            formals=_formals(function, body),
            locals=tuple(v.name or "" for v in node.outputs if v in scope),
            weights=self.counted(weights),
            attributes=attributes(node),
            doc=(function.doc_string if function else node.doc_string) or "",
            children=tuple(children),
        )
        return identifier

    def body(self, node: ir.Node) -> ir.Graph | None:
        """What a ``Loop`` around calls repeats; None for any other node."""
        attribute = node.attributes.get("body")
        if node.op_type != "Loop" or node.domain or attribute is None:
            return None
        if attribute.type != ir.AttributeType.GRAPH:
            return None
        graph: ir.Graph = attribute.value
        calls = any(inner.op_identifier() in self.model.functions for inner in graph)
        fits = calls and len(graph.inputs) == len(node.inputs) and len(graph.outputs) > 1
        return graph if fits and len(self.nodes) <= NODE_LIMIT else None

    def rounds(
        self,
        node: ir.Node,
        body: ir.Graph,
        scope: dict[ir.Value, int],
        identifier: int,
        path: str,
    ) -> list[int]:
        """Expands the body once: what is carried is, inside, the value of the first round."""
        inner = dict(scope)
        for formal, actual in zip(body.inputs[2:], node.inputs[2:], strict=True):
            if actual in scope:
                inner[formal] = scope[actual]
                self.learn(scope[actual], formal)
        for formal in body.inputs:
            if formal not in inner:
                inner[formal] = self.value(formal, None)
        children = self.scope(body, inner, identifier, f"{path}/", module_path(node))
        for result, value in zip(body.outputs[1:], node.outputs, strict=False):
            if result in inner:
                scope[value] = inner[result]
        return children

    def call(
        self,
        node: ir.Node,
        function: ir.Function,
        scope: dict[ir.Value, int],
        identifier: int,
        path: str,
    ) -> list[int]:
        if len(self.open_calls) >= DEPTH_LIMIT:
            raise ModelError(
                f"functions are nested over {DEPTH_LIMIT} deep", "a UNet's hierarchy"
            )
        inner: dict[ir.Value, int] = {}
        for formal, actual in zip(function.inputs, node.inputs, strict=False):
            if actual in scope:
                inner[formal] = scope[actual]
                self.learn(scope[actual], formal)
            elif actual in self.constants:
                self.constants[formal] = self.constants[actual]
        passed = set(inner.values())  # what goes straight through keeps its caller's name
        self.open_calls.append(node.op_identifier())
        children = self.scope(function, inner, identifier, f"{path}/", module_path(node))
        self.open_calls.pop()
        for result, value in zip(function.outputs, node.outputs, strict=False):
            if result in inner:
                scope[value] = inner[result]
                self.learn(inner[result], value, rename=inner[result] not in passed)
        return children

    def learn(self, identifier: int, value: ir.Value, rename: bool = False) -> None:
        """Fills in a shape, a dtype or an outer name that one level knows better."""
        known = self.values[identifier]
        self.values[identifier] = replace(
            known,
            name=value.name if rename and value.name else known.name,
            shape=shape_of(value) if known.shape is None else known.shape,
            dtype=known.dtype or dtype_of(value),
        )

    def counted(self, weights: list[Weight]) -> tuple[Weight, ...]:
        """Marks a tensor that several nodes share as a parameter once."""
        marked = []
        for one in weights:
            key = (one.location or one.name, one.offset)
            fresh = key not in self.seen_weights
            marked.append(replace(one, parameter=one.parameter and fresh))
            self.seen_weights.add(key)
        return tuple(marked)
