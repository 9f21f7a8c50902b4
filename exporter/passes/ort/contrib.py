"""What the passes of this folder share: a node of ONNX Runtime's domain in another's place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

DOMAIN = "com.microsoft"


def successor(
    old: ir.Node,
    op_type: str,
    inputs: Sequence[ir.Value | None],
    attributes: Mapping[str, ir.Attr | int | float | list[int]] | None = None,
    *,
    domain: str = "",
    shape: ir.Shape | None = None,
    dtype: ir.DataType | None = None,
) -> ir.Node:
    """A new node with one output and the metadata of the node that it helps to replace.

    Args:
        old: Whose place, metadata and element type it takes.
        op_type: Its operator.
        inputs: Its operands.
        attributes: Its attributes.
        domain: ``DOMAIN`` for an operator of ONNX Runtime's own.
        shape: Of the output; unknown by default.
        dtype: Of the output; that of ``old``'s first output by default.
    """
    props = dict(old.metadata_props)
    node = ir.node(op_type, inputs, attributes, domain=domain, metadata_props=props)
    kind = old.outputs[0].dtype if dtype is None else dtype
    node.outputs[0].shape = shape
    node.outputs[0].type = ir.TensorType(kind) if kind is not None else None
    return node


def replace(graph: ir.Graph, old: Sequence[ir.Node], new: Sequence[ir.Node]) -> None:
    """Puts ``new`` in the place of ``old``; the last output of each is the same value."""
    ir.convenience.replace_nodes_and_values(
        graph, old[-1], old, new, [old[-1].outputs[0]], [new[-1].outputs[0]]
    )


def permuted(value: ir.Value, order: Sequence[int]) -> ir.Shape | None:
    """The shape of ``value`` after a Transpose."""
    shape = value.shape
    return None if shape is None else ir.Shape([shape[index] for index in order])
