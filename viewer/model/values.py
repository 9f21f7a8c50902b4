"""What one node or value of an ONNX graph says, as plain values."""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping
from typing import Any

import onnx_ir as ir

from viewer.model.sizes import Shape
from viewer.model.tree import Weight

_FLOATS = {"FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE"}
# Smaller float constants without a parameter's name are tables, e.g. a sinusoid's frequencies.
_TABLE = 1024
# Constants of at most so many numbers are shown, and compared, by their values.
_FEW = 8


def module_path(node: ir.Node) -> str:
    """Module path from our metadata, from torch's, or from a ``/a/b/Conv`` name."""
    written = node.metadata_props.get("atlas.module")
    if written is not None:
        return written
    scopes = node.metadata_props.get("pkg.torch.onnx.name_scopes", "")
    if scopes.startswith("["):
        try:
            names = [str(name) for name in ast.literal_eval(scopes)[:-1]]
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            names = []
        return names[-1] if names else ""
    if (node.name or "").startswith("/"):
        return ".".join((node.name or "").strip("/").split("/")[:-1])
    return ""


def captured(node: ir.Node, scope: Mapping[ir.Value, int]) -> list[int]:
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
                found.update(dict.fromkeys(captured(inner, scope)))
    return list(found)


def _graphs(attribute: Any) -> list[ir.Graph]:
    if attribute.type == ir.AttributeType.GRAPH:
        return [attribute.value]
    return list(attribute.value) if attribute.type == ir.AttributeType.GRAPHS else []


def attributes(node: ir.Node) -> dict[str, Any]:
    """Attributes that are numbers, short texts or short lists of numbers."""
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


def weight(name: str, tensor: Any) -> Weight:
    """A tensor's place and size; its data is not touched."""
    if tensor is None:
        return Weight(name, (), "")
    shape = tuple(int(dim) for dim in tensor.shape.numpy())
    dtype = str(tensor.dtype.name)
    count = math.prod(shape)
    named = any((n or "").endswith(("weight", "bias")) for n in (name, tensor.name))
    is_parameter = dtype in _FLOATS and len(shape) > 0 and (named or count >= _TABLE)
    if isinstance(tensor, ir.ExternalTensor):
        sized = tensor.dtype is not ir.DataType.UNDEFINED  # else onnx_ir raises
        offset, length = tensor.offset or 0, tensor.length or (tensor.nbytes if sized else 0)
        return Weight(
            tensor.name or name,
            shape,
            dtype,
            str(tensor.location),
            offset,
            length,
            is_parameter,
        )
    return Weight(name, shape, dtype, parameter=is_parameter, values=_few(tensor))


def _few(tensor: Any) -> tuple[float, ...]:
    """The numbers of a small constant; none of a larger or a broken one."""
    if not 0 < math.prod(tensor.shape.numpy()) <= _FEW:
        return ()
    try:
        numbers = tensor.numpy().reshape(-1).tolist()
    except (ValueError, TypeError, KeyError, NotImplementedError):  # not what it says it is
        return ()
    return tuple(number for number in numbers if isinstance(number, (int, float)))


def shape_of(value: ir.Value) -> Shape | None:
    """Symbols and numbers; None when the file does not say."""
    if value.shape is None:
        return None
    return tuple(d if isinstance(d, int) else d.value for d in value.shape)


def dtype_of(value: ir.Value) -> str:
    """ONNX name of the element type; empty when the file does not say."""
    return value.dtype.name if value.dtype is not None else ""
