"""Graphs written as the formulas they compute.

An ``Expr`` is a value of an ``onnx_ir`` graph with arithmetic on it; each operation records
one node in the scope that is open. Scopes nest as ONNX's subgraphs do::

    with scope(opset=24) as body:
        x0 = (sample - sigma * noise) / alpha
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from exporter import metadata as meta

Number = int | float | bool
Dim = int | str
FLOAT, DOUBLE = ir.DataType.FLOAT, ir.DataType.DOUBLE
INT64, BOOL = ir.DataType.INT64, ir.DataType.BOOL


@dataclass(frozen=True)
class Expr:
    """A value; arithmetic with it is recorded in the open scope.

    Attributes:
        value: Has a dtype and a shape.
    """

    value: ir.Value

    @property
    def dtype(self) -> ir.DataType:
        """Element type."""
        assert self.value.dtype is not None
        return self.value.dtype

    @property
    def shape(self) -> tuple[Dim, ...]:
        """Sizes and symbols."""
        return dims(self.value)

    def named(self, name: str) -> Expr:
        """The same value, and the node that makes it, under the name in the formula."""
        names, node = _open().names, self.value.producer()
        if self.value.name != name:
            names.taken.discard(self.value.name or "")
            self.value.name = names.free(name)
        if node is not None and len(node.outputs) == 1:
            node.name = self.value.name
        return self

    def __add__(self, other: Expr | Number) -> Expr:
        return _binary("Add", self, other)

    def __radd__(self, other: Number) -> Expr:
        return _binary("Add", other, self)

    def __sub__(self, other: Expr | Number) -> Expr:
        return _binary("Sub", self, other)

    def __rsub__(self, other: Number) -> Expr:
        return _binary("Sub", other, self)

    def __mul__(self, other: Expr | Number) -> Expr:
        return _binary("Mul", self, other)

    def __rmul__(self, other: Number) -> Expr:
        return _binary("Mul", other, self)

    def __truediv__(self, other: Expr | Number) -> Expr:
        return _binary("Div", self, other)

    def __rtruediv__(self, other: Number) -> Expr:
        return _binary("Div", other, self)

    def __floordiv__(self, other: Expr | int) -> Expr:
        """Of integers; both must be positive, ONNX rounds towards zero."""
        return _binary("Div", self, other)

    def __rfloordiv__(self, other: int) -> Expr:
        return _binary("Div", other, self)

    def __neg__(self) -> Expr:
        return op("Neg", self)

    def __lt__(self, other: Expr | Number) -> Expr:
        return _binary("Less", self, other, BOOL)

    def __gt__(self, other: Expr | Number) -> Expr:
        return _binary("Greater", self, other, BOOL)

    def __ge__(self, other: Expr | Number) -> Expr:
        return _binary("GreaterOrEqual", self, other, BOOL)

    def equals(self, other: Expr | Number) -> Expr:
        """Elementwise; ``==`` stays Python's."""
        return _binary("Equal", self, other, BOOL)

    def __and__(self, other: Expr) -> Expr:
        return _binary("And", self, other, BOOL)

    def __or__(self, other: Expr) -> Expr:
        return _binary("Or", self, other, BOOL)

    def to(self, dtype: ir.DataType) -> Expr:
        """Cast, where it has another dtype."""
        if dtype == self.dtype:
            return self
        return op("Cast", self, attributes={"to": dtype}, dtype=dtype)


class _Names:
    """Names of one function or graph and of all subgraphs in it: ONNX forbids shadowing."""

    def __init__(self) -> None:
        self.taken: set[str] = set()

    def free(self, wanted: str) -> str:
        name, count = wanted, 0
        while name in self.taken:
            count += 1
            name = f"{wanted}_{count}"
        self.taken.add(name)
        return name


@dataclass
class Scope:
    """Where nodes are recorded: a graph, a function's body, a branch.

    Attributes:
        names: Shared with the scopes around.
        opset: Of the default domain.
        library: Functions defined so far, by identifier; shared with all scopes.
        source: What the nodes to come say about where they are from.
        role: Likewise; a value of ``atlas.role``.
        nodes: Recorded so far.
        constants: Recorded so far, by value.
        given: Values that are outputs already.
    """

    names: _Names
    opset: int
    library: dict[ir.OperatorIdentifier, ir.Function]
    source: str = ""
    role: str = ""
    nodes: list[ir.Node] = field(default_factory=list)
    constants: dict[tuple[Any, ...], Expr] = field(default_factory=dict)
    given: set[ir.Value] = field(default_factory=set)

    def metadata(self) -> dict[str, str]:
        """What a node recorded now knows about itself."""
        found = {meta.SOURCE: self.source, meta.ROLE: self.role}
        return {key: text for key, text in found.items() if text}

    def graph(self, inputs: Sequence[Expr], outputs: Sequence[Expr], name: str) -> ir.Graph:
        """What was recorded, as a graph."""
        return ir.Graph(
            [e.value for e in inputs],
            [e.value for e in outputs],
            nodes=self.nodes,
            name=name,
            opset_imports={"": self.opset, **{n.domain: 1 for n in self.nodes if n.domain}},
        )


_SCOPE: ContextVar[Scope] = ContextVar("scope")


def _open() -> Scope:
    return _SCOPE.get()


@contextlib.contextmanager
def scope(opset: int) -> Iterator[Scope]:
    """A graph of its own."""
    with _entered(Scope(_Names(), opset, {})) as opened:
        yield opened


@contextlib.contextmanager
def _entered(inner: Scope) -> Iterator[Scope]:
    token = _SCOPE.set(inner)
    try:
        yield inner
    finally:
        _SCOPE.reset(token)


@contextlib.contextmanager
def _nested() -> Iterator[Scope]:
    outer = _open()
    with _entered(
        Scope(outer.names, outer.opset, outer.library, outer.source, outer.role)
    ) as inner:
        yield inner


@contextlib.contextmanager
def about(source: str = "", role: str = "") -> Iterator[None]:
    """What nodes recorded inside say about themselves: ``atlas.source``, ``atlas.role``."""
    opened = _open()
    before = opened.source, opened.role
    opened.source, opened.role = source or before[0], role or before[1]
    try:
        yield
    finally:
        opened.source, opened.role = before


def dims(value: ir.Value) -> tuple[Dim, ...]:
    """Shape of a value that has one: sizes and symbols."""
    assert value.shape is not None
    return tuple(d if isinstance(d, int) else str(d.value) for d in value.shape)


def size(value: ir.Value, axis: int) -> int:
    """A size that is fixed."""
    found = dims(value)[axis]
    assert isinstance(found, int)
    return found


def parameter(name: str, dtype: ir.DataType, shape: Sequence[Dim]) -> Expr:
    """An input of the graph, function or loop body that is being written."""
    value = ir.Value(
        name=_open().names.free(name), shape=ir.Shape(list(shape)), type=ir.TensorType(dtype)
    )
    return Expr(value)


def constant(value: Any, dtype: ir.DataType | None = None, name: str = "constant") -> Expr:
    """A ``Constant``; equal ones are one node.

    Args:
        value: A number or an array.
        dtype: Of the tensor; by default the array's own.
        name: Of the value, if it is an array; a number is named for itself.
    """
    array = np.asarray(value, None if dtype is None else dtype.numpy())
    opened = _open()
    key = (array.tobytes(), array.dtype.str, array.shape)
    if key not in opened.constants:
        named = f"{value:g}" if array.ndim == 0 and name == "constant" else name
        node = ir.node(
            "Constant",
            [],
            {"value": ir.tensor(array, name=named)},
            metadata_props=opened.metadata(),
        )
        kind = (ir.DataType.from_numpy(array.dtype), array.shape)
        opened.constants[key] = record(node, [kind])[0].named(named)
    return opened.constants[key]


def op(
    op_type: str,
    *inputs: Expr | None,
    attributes: Mapping[str, Any] | None = None,
    dtype: ir.DataType | None = None,
    shape: Sequence[Dim] | None = None,
) -> Expr:
    """One node with one output.

    Args:
        op_type: An operator of ONNX itself.
        *inputs: In order.
        attributes: By name.
        dtype: Of the output; by default the first input's.
        shape: Of the output; by default that of all inputs broadcast.
    """
    given = [e for e in inputs if e is not None]
    node = ir.node(
        op_type,
        [None if e is None else e.value for e in inputs],
        attributes or {},
        metadata_props=_open().metadata(),
    )
    shape = _broadcast([e.shape for e in given]) if shape is None else shape
    return record(node, [(dtype or given[0].dtype, shape)])[0]


def _binary(
    op_type: str, left: Expr | Number, right: Expr | Number, dtype: ir.DataType | None = None
) -> Expr:
    if not isinstance(left, Expr):
        assert isinstance(right, Expr)
        left = constant(left, right.dtype)
    if not isinstance(right, Expr):
        right = constant(right, left.dtype)
    return op(op_type, left, right, dtype=dtype)


def _broadcast(shapes: Sequence[tuple[Dim, ...]]) -> tuple[Dim, ...]:
    rank = max((len(shape) for shape in shapes), default=0)
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    return tuple(next((d for d in dims if d != 1), 1) for dims in zip(*padded, strict=True))


def where(condition: Expr, yes: Expr | Number, no: Expr | Number) -> Expr:
    """Elementwise choice; at least one alternative is an ``Expr``."""
    kind = next(e.dtype for e in (yes, no) if isinstance(e, Expr))
    yes, no = (e if isinstance(e, Expr) else constant(e, kind) for e in (yes, no))
    return op("Where", condition, yes, no, dtype=kind)


def gather(table: Expr, index: Expr) -> Expr:
    """``table[index]`` along the first axis."""
    return op("Gather", table, index, shape=(*index.shape, *table.shape[1:]))


def concat(parts: Sequence[Expr], axis: int, shape: Sequence[Dim]) -> Expr:
    """One after the other; ``shape`` is that of the result."""
    return op("Concat", *parts, attributes={"axis": axis}, shape=shape)


def record(node: ir.Node, kinds: Sequence[tuple[ir.DataType, Sequence[Dim]]]) -> list[Expr]:
    """A node made by hand, with the dtype and shape of each output; named for what it does."""
    opened = _open()
    node.metadata_props.update(opened.metadata())
    node.name = opened.names.free(node.name or node.op_type)
    opened.nodes.append(node)
    for index, (value, (dtype, shape)) in enumerate(zip(node.outputs, kinds, strict=True)):
        value.name = node.name if not index else opened.names.free(f"{node.name}:{index}")
        value.type, value.shape = ir.TensorType(dtype), ir.Shape(list(shape))
    return [Expr(value) for value in node.outputs]


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
        with _nested() as inner:
            result = write()
            if result.value.producer() not in inner.nodes:  # an outer value needs a node here
                result = op("Identity", result)
            branches[name] = (inner.graph([], [result], name), result.dtype)
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
    with _nested() as inner:
        step = parameter("step", INT64, ())
        go_on = parameter("go_on", BOOL, ())
        carried = {key: parameter(key, e.dtype, e.shape) for key, e in state.items()}
        after, left = write(step, carried)
        again = op("Identity", go_on).named("go_on_out")
        outputs = [_own(e, inner, key) for key, e in {**after, **left}.items()]
        body = inner.graph(
            [step, go_on, *carried.values()], [again, *outputs], "sampling_step"
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
    outer = _open()
    with _entered(
        Scope(_Names(), outer.opset, outer.library, outer.source, outer.role)
    ) as own:
        formals = {key: parameter(key, e.dtype, e.shape) for key, e in inputs.items()}
        results = write(**formals)
        for key, e in results.items():
            if e.value in [f.value for f in formals.values()]:
                results[key] = op("Identity", e)
            if results[key].value.name != key:
                results[key].named(key)
        graph = own.graph([*formals.values()], [*results.values()], name)
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
