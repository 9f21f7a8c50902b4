"""Module hierarchy -> nested ONNX local functions."""

from __future__ import annotations

import re
from collections.abc import Mapping

import onnx_ir as ir

from exporter import metadata as meta
from exporter.errors import GraphError
from exporter.passes.names import free_name
from exporter.paths import is_inside, parent, upwards
from exporter.reading.docstrings import function_doc
from exporter.reading.summary import Summary, summarize

DOMAIN = "unet"


def fold(model: ir.Model, classes: Mapping[str, str], domain: str = DOMAIN) -> int:
    """Folds every diffusers module that computes something into a local function.

    Works from the leaves up on the main graph: the nodes of a module (calls of its already
    folded children among them) move into a function and one call takes their place, so that
    each function holds calls of its children. Parameters become ``Constant`` nodes where they
    are used; torch's own leaf modules (a Linear, a Conv2d) stay plain operators.

    Args:
        model: A flat, annotated model; parameters are initializers. Modified in place.
        classes: Qualified class of every module by path.
        domain: Prefix of every function's domain.

    Returns:
        The number of functions made.

    Raises:
        GraphError: a module's nodes cannot be one call without a cycle.
    """
    groups = _foldable(model.graph, classes)
    summaries = {path: summarize(nodes, path, classes[path]) for path, nodes in groups.items()}
    for path in sorted(groups, key=lambda path: -path.count(".")):
        _fold_one(model, summaries[path], _parent_role(path, summaries), domain)
    try:
        model.graph.sort()
    except ValueError as error:
        raise GraphError(
            "folding modules into functions made a cycle", do="use --flat"
        ) from error
    for name, value in list(model.graph.initializers.items()):
        if not value.uses():
            del model.graph.initializers[name]
    return len(model.functions)


def _foldable(graph: ir.Graph, classes: Mapping[str, str]) -> dict[str, list[ir.Node]]:
    found: dict[str, list[ir.Node]] = {}
    for node in graph:
        for path in upwards(node.metadata_props[meta.MODULE]):
            if not classes.get(path, "torch.").startswith("torch."):
                found.setdefault(path, []).append(node)
    return found


def _parent_role(path: str, summaries: Mapping[str, Summary]) -> str | None:
    around = (summaries[outer].role for outer in upwards(parent(path)) if outer in summaries)
    return next(around, None)


def _fold_one(model: ir.Model, summary: Summary, parent_role: str | None, domain: str) -> None:
    """Moves the nodes of one module into a function and puts a call in their place."""
    graph, path = model.graph, summary.path
    nodes = [node for node in graph if is_inside(node.metadata_props[meta.MODULE], path)]
    body = set(nodes)
    inputs = _incoming(nodes, body)
    outputs = [v for n in nodes for v in n.outputs if _leaves(v, body)]
    name = summary.name(parent_role)
    domain = f"{domain}.{path}"
    call = _call(domain, name, inputs, outputs, summary)
    graph.insert_after(nodes[-1], call)
    for value, result in zip(outputs, call.outputs, strict=True):
        for user, index in [(use.node, use.idx) for use in value.uses()]:
            if user not in body:
                user.replace_input_with(index, result)
        if value.is_graph_output():
            graph.outputs[list(graph.outputs).index(value)] = result
    graph.remove(nodes)
    opsets = {d: model.opset_imports[d] for d in sorted({"", *(n.domain for n in nodes)})}
    function = _function(domain, name, nodes, inputs, outputs, summary, opsets)
    model.functions[function.identifier()] = function
    model.opset_imports[function.domain] = 1


def _call(
    domain: str,
    name: str,
    inputs: list[ir.Value],
    outputs: list[ir.Value],
    summary: Summary,
) -> ir.Node:
    call = ir.Node(
        domain,
        name,
        inputs,
        num_outputs=len(outputs),
        name=summary.path,
        metadata_props=summary.metadata(),
    )
    plain = [v for v in outputs if not _is_named(v) and not v.is_graph_output()]
    for inner, outer in zip(outputs, call.outputs, strict=True):
        outer.shape, outer.type, outer.name = inner.shape, inner.type, inner.name
        if inner in plain:
            index = plain.index(inner)
            outer.name = f"{summary.path}:{index}" if index else summary.path
    return call


def _function(
    domain: str,
    name: str,
    nodes: list[ir.Node],
    inputs: list[ir.Value],
    outputs: list[ir.Value],
    summary: Summary,
    opsets: dict[str, int],
) -> ir.Function:
    names = _LocalNames(summary)
    formals = [names.formal(value) for value in inputs]
    replaced = dict(zip(inputs, formals, strict=True))
    constants: dict[ir.Value, ir.Node] = {}
    for node in nodes:
        for index, value in enumerate(node.inputs):
            if value in replaced:
                node.replace_input_with(index, replaced[value])
            elif value is not None and _is_constant(value):
                if value not in constants:
                    constants[value] = _constant(value, summary.path, node)
                node.replace_input_with(index, constants[value].outputs[0])
    inner = [*constants.values(), *nodes]
    for output in outputs:
        output.name = names.output(output)
    for value in (v for node in inner for v in node.outputs if v not in outputs):
        value.name = names.local(value)
    graph = ir.Graph(formals, outputs, nodes=inner, opset_imports=opsets, name=name)
    graph.sort()
    function = ir.Function(domain, name, graph=graph, attributes=[])
    function.doc_string = function_doc(summary, formals, outputs)
    return function


class _LocalNames:
    """Names inside a function: what a value is, or its path from here."""

    def __init__(self, summary: Summary) -> None:
        self.summary, self.taken = summary, set[str | None]()

    def formal(self, value: ir.Value) -> ir.Value:
        """A parameter of the function for a value of the enclosing graph.

        ``skip_3`` keeps its name where it arrives as a skip or lends its size; elsewhere it
        is simply the trunk.
        """
        own = value.name or ""
        name = "hidden"
        if own == "encoder_hidden_states":
            name = "text"
        elif value.is_graph_input() or self._keeps(value):
            name = own
        return ir.Value(name=free_name(name, self.taken), shape=value.shape, type=value.type)

    def output(self, value: ir.Value) -> str:
        """``skip_3`` and ``temb`` keep their names, other results are ``hidden_out``."""
        return free_name((value.name or "") if _is_named(value) else "hidden_out", self.taken)

    def local(self, value: ir.Value) -> str:
        """The name without the function's own path."""
        name, path = value.name or "", self.summary.path
        return free_name(name.removeprefix(path + ".").removeprefix(path + "/"), self.taken)

    def _keeps(self, value: ir.Value) -> bool:
        waits = (value.name or "").startswith("skip_")
        return _is_named(value) and (not waits or self.summary.side == "up")


def _is_named(value: ir.Value) -> bool:
    """Whether annotation gave the value a name of its own."""
    return re.fullmatch(r"(temb|text|image|skip)(_\d+)?", value.name or "") is not None


def _incoming(nodes: list[ir.Node], body: set[ir.Node]) -> list[ir.Value]:
    values = (value for node in nodes for value in node.inputs if value is not None)
    outside = (v for v in values if not _is_constant(v) and v.producer() not in body)
    return list(dict.fromkeys(outside))


def _is_constant(value: ir.Value) -> bool:
    """Whether nobody can give it another value: an input with a default is none."""
    return value.is_initializer() and not value.is_graph_input()


def _leaves(value: ir.Value, body: set[ir.Node]) -> bool:
    return value.is_graph_output() or any(use.node not in body for use in value.uses())


def _constant(value: ir.Value, path: str, user: ir.Node) -> ir.Node:
    tensor = value.const_value
    assert tensor is not None
    keys = (meta.MODULE, meta.CLASS, meta.SOURCE, meta.ROLE)
    node = ir.node(
        "Constant",
        [],
        {"value": tensor},
        name=f"{path}/{value.name}",
        metadata_props={k: user.metadata_props[k] for k in keys if k in user.metadata_props},
    )
    result = node.outputs[0]
    result.name, result.shape, result.type = value.name, value.shape, value.type
    return node
