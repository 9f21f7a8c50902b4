"""Formulas as graphs: a value of an ``onnx_ir`` graph with arithmetic on it.

Each operation records one node in the scope that is open::

    with scope(opset=24):
        x0 = (sample - sigma * noise) / alpha
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from exporter.sampler.scope import current

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
        names, node = current().names, self.value.producer()
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
        name=current().names.free(name), shape=ir.Shape(list(shape)), type=ir.TensorType(dtype)
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
    opened = current()
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
    found: Expr = opened.constants[key]
    return found


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
        metadata_props=current().metadata(),
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
    opened = current()
    node.metadata_props.update(opened.metadata())
    node.name = opened.names.free(node.name or node.op_type)
    opened.nodes.append(node)
    for index, (value, (dtype, shape)) in enumerate(zip(node.outputs, kinds, strict=True)):
        value.name = node.name if not index else opened.names.free(f"{node.name}:{index}")
        value.type, value.shape = ir.TensorType(dtype), ir.Shape(list(shape))
    return [Expr(value) for value in node.outputs]
