"""``If``, ``Loop`` and functions, written with Python functions that record their bodies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import onnx_ir as ir

from exporter.sampler.expr import BOOL, INT64, Dim, Expr, constant, op, parameter, record
from exporter.sampler.scope import Names, Scope, current, entered, nested


def choose(
    condition: Expr, yes: Callable[[], Expr], no: Callable[[], Expr], shape: Sequence[Dim]
) -> Expr:
    """``If``: only the branch that is taken is computed.

    Args:
        condition: Scalar.
        yes: Records what is computed where it holds.
        no: Likewise where it does not.
        shape: Of the result, whichever branch it comes from.
    """
    branches = {}
    for name, write in (("then_branch", yes), ("else_branch", no)):
        with nested() as inner:
            result = write()
            if result.value.producer() not in inner.nodes:  # an outer value needs a node here
                result = op("Identity", result)
            branches[name] = (inner.graph([], [result.value], name), result.dtype)
    node = ir.node(
        "If", [condition.value], {key: graph for key, (graph, _) in branches.items()}
    )
    return record(node, [(branches["then_branch"][1], shape)])[0]


def loop(
    count: Expr,
    state: Mapping[str, Expr],
    write: Callable[[Expr, dict[str, Expr]], tuple[dict[str, Expr], dict[str, Expr]]],
    rounds: str,
) -> tuple[dict[str, Expr], dict[str, Expr]]:
    """``Loop``: ``count`` times over a body that carries ``state``.

    Args:
        count: Scalar int64.
        state: What the first round is given, by name.
        write: Records the body. Takes the round's number and the state; returns the next state
            and what each round leaves behind, by name.
        rounds: Symbol for the number of rounds.

    Returns:
        The last state, and what was left behind, stacked along a new first axis.
    """
    with nested() as inner:
        step = parameter("step", INT64, ())
        go_on = parameter("go_on", BOOL, ())
        carried = {key: parameter(key, e.dtype, e.shape) for key, e in state.items()}
        after, left = write(step, carried)
        again = op("Identity", go_on).named("go_on_out")
        outputs = [_own(e, inner, key) for key, e in {**after, **left}.items()]
        body = inner.graph(
            [e.value for e in (step, go_on, *carried.values())],
            [e.value for e in (again, *outputs)],
            "sampling_step",
        )
    always = constant(True, BOOL, "always")  # ONNX's reference evaluator wants it said
    node = ir.node(
        "Loop",
        [count.value, always.value, *(e.value for e in state.values())],
        {"body": body},
        num_outputs=len(state) + len(left),
        name="Loop",
    )
    kinds = [(e.dtype, e.shape) for e in state.values()]
    kinds += [(e.dtype, (rounds, *e.shape)) for e in left.values()]
    found = record(node, kinds)
    named = zip([*state, *left], found, strict=True)
    results = {key: e.named(f"final_{key}" if key in state else key) for key, e in named}
    return {k: results[k] for k in state}, {k: results[k] for k in left}


def _own(result: Expr, inner: Scope, name: str) -> Expr:
    """A value that the body itself makes, once: a graph cannot give out an input or a twin."""
    if result.value.producer() not in inner.nodes or result.value in inner.given:
        result = op("Identity", result).named(f"{name}_out")
    inner.given.add(result.value)
    return result


def call(
    domain: str,
    name: str,
    write: Callable[..., dict[str, Expr]],
    inputs: Mapping[str, Expr],
    *,
    doc: str,
) -> dict[str, Expr]:
    """Writes a function and calls it.

    Args:
        domain: Of the function.
        name: What the node says it is.
        write: Records the body; takes the inputs as keywords, returns the outputs by name.
        inputs: What the function is called with, by the names it uses for them.
        doc: Markdown for the function.

    Returns:
        The results of the call.
    """
    outer = current()
    with entered(Scope(Names(), outer.opset, outer.library, outer.source, outer.role)) as own:
        formals = {key: parameter(key, e.dtype, e.shape) for key, e in inputs.items()}
        results = write(**formals)
        for key, e in results.items():
            if e.value in [f.value for f in formals.values()]:
                results[key] = op("Identity", e)
            if results[key].value.name != key:
                results[key].named(key)
        graph = own.graph(
            [e.value for e in formals.values()], [e.value for e in results.values()], name
        )
    function = ir.Function(domain, name, graph=graph, attributes=[])
    function.doc_string = doc
    outer.library[function.identifier()] = function
    return invoke(
        function, [*inputs.values()], {k: (e.dtype, e.shape) for k, e in results.items()}
    )


def invoke(
    function: ir.Function,
    inputs: Sequence[Expr],
    outputs: Mapping[str, tuple[ir.DataType, Sequence[Dim]]],
) -> dict[str, Expr]:
    """A call of a function that exists; the results are named as given."""
    node = ir.Node(
        function.domain,
        function.name,
        [e.value for e in inputs],
        num_outputs=len(outputs),
        name=function.name,
    )
    found = record(node, list(outputs.values()))
    return {key: e.named(key) for key, e in zip(outputs, found, strict=True)}
