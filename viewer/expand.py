"""From an ONNX model with local functions to a ``Tree``: every call opened in place."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import onnx_ir as ir

from viewer.sizes import Shape
from viewer.tree import ABSENT, WEIGHT, Node, Tree, Value, Weight

NODE_LIMIT = 30_000
"""Calls may multiply: a small hostile file must not expand without end."""

_SEGMENT = re.compile(r"[^.]+(?:\.\d+)*")
# Smaller float constants without a parameter's name are tables, e.g. a sinusoid's frequencies.
_TABLE = 1024
_FLOATS = {"FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE"}


def expand(model: ir.Model) -> Tree:
    """Opens every function call in place.

    Args:
        model: A model, with or without local functions and metadata.

    Returns:
        The hierarchy. Without functions, nodes are grouped by module path.
    """
    builder = _Builder(model)
    graph = model.graph
    scope: dict[ir.Value, int] = {}
    for value in graph.initializers.values():
        builder.constants[value] = _weight(value.name or "", value.const_value)
    inputs = []
    for value in graph.inputs:
        if value not in builder.constants:
            scope[value] = builder.value(value, None)
            inputs.append(scope[value])
    flat = not model.functions
    top = builder.scope(graph, scope, None, "", flat)
    outputs = tuple(scope[value] for value in graph.outputs if value in scope)
    return Tree(
        tuple(builder.finished()),
        tuple(builder.values),
        tuple(inputs),
        outputs,
        tuple(top),
        builder.truncated,
    )


def split_module(module: str) -> list[str]:
    """``down_blocks.0.resnets.1.conv1`` as ``down_blocks.0``, ``resnets.1``, ``conv1``."""
    return _SEGMENT.findall(module)


@dataclass
class _Builder:
    model: ir.Model
    nodes: list[Node | None] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    constants: dict[ir.Value, Weight] = field(default_factory=dict)
    open_calls: list[Any] = field(default_factory=list)
    seen_weights: set[tuple[str, int]] = field(default_factory=set)
    truncated: bool = False

    def value(self, value: ir.Value, producer: int | None) -> int:
        name = value.name or ""
        known = Value(len(self.values), name, _shape(value), _dtype(value), producer)
        self.values.append(known)
        return known.id

    def finished(self) -> Iterable[Node]:
        return (node for node in self.nodes if node is not None)

    def reserve(self) -> int:
        self.nodes.append(None)
        return len(self.nodes) - 1

    def scope(
        self,
        nodes: Iterable[ir.Node],
        scope: dict[ir.Value, int],
        parent: int | None,
        prefix: str,
        flat: bool,
    ) -> list[int]:
        """Expands one graph or function body; returns the ids of its nodes."""
        groups = _Groups(self, parent, prefix) if flat else None
        used: set[str] = set()
        made: list[int] = []
        around = module_of_call(self.nodes[parent]) if parent is not None else ""
        for node in nodes:
            if self.constant(node):
                continue
            if len(self.nodes) >= NODE_LIMIT:
                self.truncated = True
                break
            module = _module(node)
            if groups is not None:
                owner, names, where = groups.enter(split_module(module))
                made_id = self.node(node, scope, owner, _unique(names, where, node.op_type))
                groups.children[owner].append(made_id)
                continue
            segment = _relative(module, around) or node.op_type
            made.append(self.node(node, scope, parent, _unique(used, prefix, segment)))
        return groups.close() if groups is not None else made

    def constant(self, node: ir.Node) -> bool:
        if node.op_type != "Constant" or node.domain not in ("", "ai.onnx"):
            return False
        output = node.outputs[0]
        attribute = node.attributes.get("value")
        tensor = attribute.value if attribute is not None else None
        name = output.name or ""
        self.constants[output] = (
            _weight(name, tensor)
            if isinstance(tensor, ir.TensorProtocol)
            else Weight(name, (), "", 0)  # type: ignore[arg-type]
        )
        return True

    def node(
        self, node: ir.Node, scope: dict[ir.Value, int], parent: int | None, path: str
    ) -> int:
        identifier = self.reserve()
        function = self.model.functions.get(node.op_identifier())
        if function is not None and node.op_identifier() in self.open_calls:
            function = None  # ONNX forbids recursion; a hostile file may not know
        inputs = [ABSENT if v is None else scope.get(v, WEIGHT) for v in node.inputs]
        weights = [self.constants[v] for v in node.inputs if v in self.constants]
        children: list[int] = []
        if function is None:
            inputs += _captured(node, scope)
            for value in node.outputs:
                scope[value] = self.value(value, identifier)
        else:
            children = self.call(node, function, scope, identifier, path)
        self.nodes[identifier] = Node(
            id=identifier,
            parent=parent,
            kind="op" if function is None else "call",
            path=path,
            name=node.name or "",
            op=node.op_type,
            domain="" if node.domain == "ai.onnx" else node.domain,
            metadata=dict(node.metadata_props),
            module=_module(node),
            side=node.metadata_props.get("atlas.side", ""),
            level=_integer(node.metadata_props.get("atlas.level")),
            inputs=tuple(inputs),
            outputs=tuple(scope[v] for v in node.outputs if v in scope),
            formals=tuple(v.name or "" for v in function.inputs) if function else (),
            locals=tuple(v.name or "" for v in node.outputs if v in scope),
            weights=self.counted(weights),
            attributes=_attributes(node),
            doc=(function.doc_string if function else node.doc_string) or "",
            children=tuple(children),
        )
        return identifier

    def call(
        self,
        node: ir.Node,
        function: ir.Function,
        scope: dict[ir.Value, int],
        identifier: int,
        path: str,
    ) -> list[int]:
        # A placeholder lets children ask for their caller's module before it is complete.
        stub = Node(
            identifier, None, "call", path, node.name or "", node.op_type, node.domain,
            {}, _module(node), "", None, (), (),
        )  # fmt: skip
        self.nodes[identifier] = stub
        inner: dict[ir.Value, int] = {}
        for formal, actual in zip(function.inputs, node.inputs, strict=False):
            if actual in scope:
                inner[formal] = scope[actual]
                self.learn(scope[actual], formal)
            elif actual in self.constants:
                self.constants[formal] = self.constants[actual]
        passed = set(inner.values())  # what goes straight through keeps its caller's name
        self.open_calls.append(node.op_identifier())
        children = self.scope(function, inner, identifier, path + "/", flat=False)
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
            shape=_shape(value) if known.shape is None else known.shape,
            dtype=known.dtype or _dtype(value),
        )

    def counted(self, weights: list[Weight]) -> tuple[Weight, ...]:
        """Marks a tensor that several nodes share as a parameter once."""
        marked = []
        for weight in weights:
            key = (weight.location or weight.name, weight.offset)
            fresh = key not in self.seen_weights
            marked.append(replace(weight, parameter=weight.parameter and fresh))
            self.seen_weights.add(key)
        return tuple(marked)


def module_of_call(node: Node | None) -> str:
    """Module path of an enclosing call; empty at the top."""
    return node.module if node is not None else ""


class _Groups:
    """Nested groups by module path, opened in the order of their first node."""

    def __init__(self, builder: _Builder, parent: int | None, prefix: str) -> None:
        self.builder, self.prefix = builder, prefix
        self.ids: dict[tuple[str, ...], int | None] = {(): parent}
        self.children: dict[int | None, list[int]] = {parent: []}
        self.names: dict[int | None, set[str]] = {parent: set()}
        self.parent = parent

    def enter(self, parts: list[str]) -> tuple[int | None, set[str], str]:
        for depth in range(1, len(parts) + 1):
            key = tuple(parts[:depth])
            if key in self.ids:
                continue
            owner = self.ids[key[:-1]]
            path = _unique(self.names[owner], self._path(owner), key[-1])
            identifier = self.builder.reserve()
            module = ".".join(key)
            self.builder.nodes[identifier] = Node(
                identifier,
                owner,
                "group",
                path,
                module,
                key[-1],
                "",
                {},
                module,
                "",
                None,
                (),
                (),
            )
            self.ids[key] = identifier
            self.children[owner].append(identifier)
            self.children[identifier] = []
            self.names[identifier] = set()
        owner = self.ids[tuple(parts)]
        return owner, self.names[owner], self._path(owner)

    def _path(self, owner: int | None) -> str:
        node = self.builder.nodes[owner] if owner is not None else None
        return f"{node.path}/" if node is not None else self.prefix

    def close(self) -> list[int]:
        nodes, values = self.builder.nodes, self.builder.values
        readers: dict[int, list[int]] = {}
        for node in nodes:
            if node is not None and node.kind == "op":
                for value in node.inputs:
                    readers.setdefault(value, []).append(node.id)
        for identifier in sorted((i for i in self.children if i is not None), reverse=True):
            group = nodes[identifier]
            if group is not None and group.kind == "group":
                nodes[identifier] = self._summary(group, readers, len(values))
        return self.children[self.parent]

    def _summary(self, group: Node, readers: Mapping[int, list[int]], count: int) -> Node:
        members = [self.builder.nodes[i] for i in self.children[group.id]]
        inside = set(self._leaves(group.id))
        read = dict.fromkeys(v for m in members if m for v in m.inputs if v >= 0)
        made = dict.fromkeys(v for m in members if m for v in m.outputs)
        used = [v for v in made if any(r not in inside for r in readers.get(v, [-1]))]
        first = next((m for m in members if m), group)
        shared = {
            key: value
            for key, value in first.metadata.items()
            if key != "atlas.module"
            and all(m and m.metadata.get(key) == value for m in members)
        }
        return replace(
            group,
            metadata=shared,
            inputs=tuple(v for v in read if v not in made),
            outputs=tuple(used),
            children=tuple(self.children[group.id]),
            side=next((m.side for m in members if m and m.side), ""),
            level=next((m.level for m in members if m and m.level is not None), None),
        )

    def _leaves(self, owner: int) -> Iterable[int]:
        for child in self.children[owner]:
            if child in self.children:
                yield from self._leaves(child)
            else:
                yield child


def _module(node: ir.Node) -> str:
    """Module path from our metadata, from torch's, or from a ``/a/b/Conv`` name."""
    written = node.metadata_props.get("atlas.module")
    if written is not None:
        return written
    scopes = node.metadata_props.get("pkg.torch.onnx.name_scopes", "")
    if scopes.startswith("["):
        try:
            names = [str(name) for name in ast.literal_eval(scopes)[:-1]]
        except (ValueError, SyntaxError, TypeError):
            names = []
        return names[-1] if names else ""
    if (node.name or "").startswith("/"):
        return ".".join((node.name or "").strip("/").split("/")[:-1])
    return ""


def _relative(module: str, around: str) -> str:
    if not around:
        return module
    if module == around:
        return ""
    return module.removeprefix(around + ".")


def _unique(used: set[str], prefix: str, segment: str) -> str:
    segment = re.sub(r"[/?#&%\s]", "_", segment) or "node"
    name, count = segment, 1
    while name in used:
        count += 1
        name = f"{segment}~{count}"
    used.add(name)
    return prefix + name


def _captured(node: ir.Node, scope: Mapping[ir.Value, int]) -> list[int]:
    """Values of the enclosing graph that an If's or Loop's body reads."""
    found: dict[int, None] = {}
    for attribute in node.attributes.values():
        for graph in _graphs(attribute):
            for inner in graph:
                found.update(
                    dict.fromkeys(
                        scope[v] for v in inner.inputs if v is not None and v in scope
                    )
                )
                found.update(dict.fromkeys(_captured(inner, scope)))
    return list(found)


def _graphs(attribute: Any) -> list[ir.Graph]:
    if attribute.type == ir.AttributeType.GRAPH:
        return [attribute.value]
    return list(attribute.value) if attribute.type == ir.AttributeType.GRAPHS else []


def _attributes(node: ir.Node) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for name, attribute in node.attributes.items():
        value = attribute.value
        if isinstance(value, str):
            plain[name] = value[:80]
        elif isinstance(value, (int, float)):
            plain[name] = value
        elif isinstance(value, (list, tuple)) and all(
            isinstance(v, (int, float)) for v in value
        ):
            plain[name] = list(value[:16])
    return plain


def _weight(name: str, tensor: Any) -> Weight:
    if tensor is None:
        return Weight(name, (), "")
    shape = tuple(int(dim) for dim in tensor.shape.numpy())
    dtype = str(tensor.dtype.name)
    count = math.prod(shape)
    named = any((n or "").endswith(("weight", "bias")) for n in (name, tensor.name))
    is_parameter = dtype in _FLOATS and len(shape) > 0 and (named or count >= _TABLE)
    if isinstance(tensor, ir.ExternalTensor):
        offset, length = tensor.offset or 0, tensor.length or tensor.nbytes
        return Weight(
            tensor.name or name,
            shape,
            dtype,
            str(tensor.location),
            offset,
            length,
            is_parameter,
        )
    return Weight(name, shape, dtype, parameter=is_parameter)


def _shape(value: ir.Value) -> Shape | None:
    if value.shape is None:
        return None
    return tuple(d if isinstance(d, int) else d.value for d in value.shape)


def _dtype(value: ir.Value) -> str:
    return value.dtype.name if value.dtype is not None else ""


def _integer(text: str | None) -> int | None:
    return int(text) if text is not None and text.lstrip("-").isdigit() else None
