"""A file by any exporter as one flat graph with names, shapes and letters for its axes."""

from __future__ import annotations

import contextlib
import io
import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes.common import (
    IdentityEliminationPass,
    InlinePass,
    LiftConstantsToInitializersPass,
    RemoveUnusedNodesPass,
)

from exporter.errors import UsageError
from exporter.passes.name_dims import NameDims
from exporter.passes.names import free_name
from exporter.runtime.loading import load_graph, understood

_TYPED_FUNCTIONS = 10  # the first version in which a function tells its values' shapes
_LARGE = 1024  # bytes; what is smaller may be a size that shapes depend on


def flatten(path: Path) -> ir.Model:
    """Reads a file and inlines its functions; what it computes stays as it is.

    Constants become initializers, Identities go, unnamed nodes and values get names.

    Raises:
        UsageError: It cannot be read, is malformed, or has no nodes or no one output.
    """
    with understood(path):
        model = InlinePass()(load_graph(path)).model
        model = LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(
            model
        ).model
        IdentityEliminationPass()(model)  # TorchScript stores equal weights once
        RemoveUnusedNodesPass()(model)
        ir.external_data.set_base_dir(model.graph, path.parent)
        model.graph.sort()
    if not len(model.graph) or len(model.graph.outputs) != 1:
        outputs = f"{len(model.graph)} nodes and {len(model.graph.outputs)} outputs"
        raise UsageError(f"{path.name} has {outputs}", "a UNet: one output")
    _name_all(model.graph)
    model.ir_version = max(model.ir_version, _TYPED_FUNCTIONS)
    return model


def infer_shapes(model: ir.Model, inputs: Mapping[str, str]) -> int:
    """Completes the shapes of a flat graph, and calls its axes B, H, W, S.

    ONNX Runtime's symbolic inference follows sizes through ``Shape`` and arithmetic; where it
    gives up, ONNX's own and what the file says stand in.

    Args:
        model: A flat graph; modified in place. Weights are not read.
        inputs: Name of each input by its conventional one.

    Returns:
        How many values are still without a shape, or with an unknown size.
    """
    plain = _without_weights(model)
    for infer in (_symbolic, _numeric):
        told = infer(plain)
        for value in (v for node in model.graph for v in node.outputs):
            known = told.get(value.name or "")
            if known is not None and (infer is _symbolic or _unknown(value.shape)):
                value.type = ir.TensorType(ir.DataType(known.elem_type))
                shape = _shape(known)
                value.shape = value.shape if shape is None else shape
    axes = _axes(model.graph, inputs)
    NameDims(axes, ceil=not any("//" in letter for letter in axes.values()))(model)
    return sum(_unknown(value.shape) for node in model.graph for value in node.outputs)


def _symbolic(proto: onnx.ModelProto) -> dict[str, onnx.TypeProto.Tensor]:
    """By ONNX Runtime; nothing where it gives up, for which it has no class of its own."""
    from onnxruntime.tools.symbolic_shape_infer import SymbolicShapeInference

    bare = onnx.ModelProto()
    bare.CopyFrom(proto)
    del bare.graph.value_info[:]
    for output in bare.graph.output:
        output.type.tensor_type.ClearField("shape")
    try:
        with _silent():
            return _told(SymbolicShapeInference.infer_shapes(bare, auto_merge=True))
    except Exception:  # an assert, a KeyError, whatever sympy raises
        return {}


def _numeric(proto: onnx.ModelProto) -> dict[str, onnx.TypeProto.Tensor]:
    """By ONNX itself; what the file says where it contradicts itself."""
    with contextlib.suppress(onnx.shape_inference.InferenceError):
        proto = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    return _told(proto)


def _told(proto: onnx.ModelProto) -> dict[str, onnx.TypeProto.Tensor]:
    values = (*proto.graph.value_info, *proto.graph.output)
    return {v.name: v.type.tensor_type for v in values if v.type.HasField("tensor_type")}


def _axes(graph: ir.Graph, inputs: Mapping[str, str]) -> dict[str, str]:
    """The file's names of axes to ours; ``2*half`` makes ``half`` ours, ``(H//2)``."""
    letters = {"sample": "B_HW", "encoder_hidden_states": "BS_", "timestep": "T"}
    values = {value.name: value for value in graph.inputs}
    found: dict[str, str] = {}
    for conventional, axes in letters.items():
        value = values.get(inputs.get(conventional))
        for dim, letter in zip(value.shape or () if value else (), axes, strict=False):
            text = "" if isinstance(dim, int) else str(dim.value or "")
            parts = re.fullmatch(r"(?:(\d+)\*)?([A-Za-z_]\w*)", text)
            if parts and letter != "_":
                found.setdefault(parts[2], f"({letter}//{parts[1]})" if parts[1] else letter)
    return found


def _without_weights(model: ir.Model) -> onnx.ModelProto:
    """The graph as a message in which large initializers are inputs of their shape."""
    proto = ir.to_proto(model)
    small = []
    inputs = {value.name for value in proto.graph.input}
    for tensor in proto.graph.initializer:
        if tensor.data_location != onnx.TensorProto.EXTERNAL and _bytes(tensor) < _LARGE:
            small.append(tensor)
        elif tensor.name not in inputs:
            value = onnx.helper.make_tensor_value_info(
                tensor.name, tensor.data_type, tensor.dims
            )
            proto.graph.input.append(value)
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(small)
    return proto


def _bytes(tensor: onnx.TensorProto) -> int:
    return int(np.prod(tensor.dims, dtype=np.int64)) * 4


def _shape(kind: onnx.TypeProto.Tensor) -> ir.Shape | None:
    if not kind.HasField("shape"):
        return None
    return ir.Shape(
        [
            d.dim_value if d.HasField("dim_value") else d.dim_param or None
            for d in kind.shape.dim
        ]
    )


def _unknown(shape: ir.Shape | None) -> bool:
    return shape is None or any(not isinstance(d, int) and d.value is None for d in shape)


def _name_all(graph: ir.Graph) -> None:
    """ONNX Runtime refuses two nodes of one name, and shapes are told by values' names."""
    nodes: set[str | None] = set()
    values: set[str | None] = {v.name for v in (*graph.inputs, *graph.initializers.values())}
    for node in graph:
        node.name = free_name(node.name or node.op_type, nodes)
        for value in node.outputs:
            value.name = free_name(value.name or node.name, values)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Symbolic inference logs and prints what it cannot do; the count says it too."""
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)
