"""What a graph computes as one expression, whatever its nodes are called or folded into."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import onnx_ir as ir
from onnx_ir.passes.common import InlinePass

from exporter.runtime.loading import load_graph, understood


def expression(path: Path) -> tuple[str, ...]:
    """A digest of every output: of its operator, attributes and operands, down to the inputs.

    Functions are inlined and Identities seen through; a constant is its bytes, an external
    tensor the place of its bytes, which are not read. Two files with equal digests compute the
    same operators on the same operands, in whatever order and type.

    Raises:
        UsageError: The file cannot be read, or is malformed.
    """
    with understood(path):
        model = InlinePass()(load_graph(path)).model
        ir.external_data.set_base_dir(model.graph, path.parent)
        model.graph.sort()
    told: dict[ir.Value, str] = {
        value: _digest("input", value.name or "") for value in model.graph.inputs
    }
    for value in model.graph.initializers.values():
        if value.const_value is not None and value not in told:
            told[value] = _tensor(value.const_value, path.parent)
    for node in model.graph:
        opset = str(model.opset_imports.get(node.domain))
        _tell(node, opset, told, path.parent)
    return tuple(told[value] for value in model.graph.outputs)


def _tell(node: ir.Node, opset: str, told: dict[ir.Value, str], folder: Path) -> None:
    if node.op_type == "Constant" and "value" in node.attributes:
        told[node.outputs[0]] = _tensor(node.attributes["value"].as_tensor(), folder)
        return
    operands = [told[value] if value is not None else "" for value in node.inputs]
    if node.op_type == "Identity":
        told[node.outputs[0]] = operands[0]
        return
    attributes = [
        ir.to_proto(attribute).SerializeToString(deterministic=True).hex()
        for _, attribute in sorted(node.attributes.items())
    ]
    for index, value in enumerate(node.outputs):
        told[value] = _digest(
            node.domain, opset, node.op_type, str(index), *attributes, "of", *operands
        )


def _tensor(tensor: ir.TensorProtocol, folder: Path) -> str:
    kind = f"{tensor.dtype} {list(tensor.shape.numpy())}"
    if isinstance(tensor, ir.ExternalTensor):
        place = os.path.realpath(folder / tensor.location)
        return _digest("external", kind, place, str(tensor.offset), str(tensor.length))
    return _digest("constant", kind, tensor.tobytes().hex())


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
