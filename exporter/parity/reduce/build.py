"""A cut as a model of its own: constants inside, free sizes, checked by onnx."""

from __future__ import annotations

import re
from collections.abc import Mapping

import onnx
import onnx_ir as ir

from exporter.parity.locate import Finding
from exporter.parity.reduce.cut import Cut
from exporter.runtime.inlined import Inlined
from exporter.runtime.session import Array

RESERVED = frozenset({"expected", "limit"})
"""Names that the script beside the file reads for itself."""


def build(
    cut: Cut,
    flat: Inlined,
    values: Mapping[ir.Value, Array],
    finding: Finding,
    rank: int,
) -> tuple[ir.Model, dict[str, Array]]:
    """The model, and what it is fed by input name.

    Args:
        cut: What it holds.
        flat: Where that comes from.
        values: Of everything that goes into the cut.
        finding: What the file says about itself.
        rank: Of the output; ONNX wants one declared.

    Raises:
        onnx.checker.ValidationError: The nodes are no valid ONNX by themselves.
    """
    copies: dict[ir.Value, ir.Value] = {}
    names = set(RESERVED)
    for value in (*cut.fed, *cut.frozen):
        name = _free(value.name or "value", names)
        tensor = ir.tensor(values[value], name=name)
        copies[value] = ir.Value(name=name, type=ir.TensorType(tensor.dtype))
        copies[value].shape = ir.Shape([None] * len(tensor.shape))
        if value in cut.frozen:
            copies[value].shape = ir.Shape(values[value].shape)
            copies[value].const_value = tensor
    nodes = [_copy(node, copies, names) for node in cut.nodes]
    output = copies[cut.end]
    output.type = ir.TensorType(cut.end.dtype or ir.DataType.FLOAT)
    output.shape = ir.Shape([None] * rank)
    used = {node.domain for node in nodes}
    graph = ir.Graph(
        [copies[value] for value in cut.fed],
        [output],
        nodes=nodes,
        initializers=[copies[value] for value in cut.frozen],
        name="reduced",
        opset_imports={k: v for k, v in flat.model.opset_imports.items() if k in used},
        doc_string=str(finding),
    )
    model = ir.Model(graph, ir_version=flat.model.ir_version)
    model.metadata_props.update({"module": finding.module, "source": finding.source})
    onnx.checker.check_model(ir.to_proto(model))
    return model, {copies[value].name or "": values[value] for value in cut.fed}


def _copy(node: ir.Node, copies: dict[ir.Value, ir.Value], names: set[str]) -> ir.Node:
    copy = ir.Node(
        node.domain,
        node.op_type,
        [copies[value] if value is not None else None for value in node.inputs],
        list(node.attributes.values()),
        num_outputs=len(node.outputs),
        name=_free(node.name or node.op_type, names),
        metadata_props=dict(node.metadata_props),
    )
    for value, made in zip(node.outputs, copy.outputs, strict=True):
        made.name = _free(value.name or node.op_type, names)
        made.type = value.type
        copies[value] = made
    return copy


def _free(name: str, names: set[str]) -> str:
    """A name that is a Python word and nobody's else."""
    word = re.sub(r"\W+", "_", name).strip("_") or "value"
    free, number = word, 1
    while free in names:
        number += 1
        free = f"{word}_{number}"
    names.add(free)
    return free
