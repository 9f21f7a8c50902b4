"""Parameters of a graph, tied to the bytes of the files that hold them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import onnx_ir as ir

from exporter.errors import GraphError
from exporter.types import TensorSpec


def attach(
    model: ir.Model, specs: Mapping[str, TensorSpec], folder: Path, parameters: list[str]
) -> None:
    """Turns parameter inputs into initializers that lie in safetensors files.

    Args:
        model: A model whose parameters are inputs; modified in place.
        specs: Where each tensor lies.
        folder: Folder of the .onnx; every file is at or below it.
        parameters: Names of the parameter inputs.

    Raises:
        GraphError: The graph has a parameter that the weights lack.
    """
    graph = model.graph
    inputs = {value.name: value for value in graph.inputs}
    for name in parameters:
        value, spec = inputs[name], specs.get(name)
        if spec is None or spec.file is None:
            raise GraphError(f"the graph reads {name}, which the checkpoint does not hold")
        value.const_value = ir.ExternalTensor(
            location=spec.file.relative_to(folder).as_posix(),
            offset=spec.offset,
            length=spec.nbytes,
            dtype=spec.dtype,
            shape=ir.Shape(spec.shape),
            name=name,
            base_dir=folder,
        )
        graph.inputs.remove(value)
        graph.register_initializer(value)


def moved(tensor: ir.ExternalTensor, location: Path, folder: Path) -> ir.ExternalTensor:
    """The same bytes, as a file in another folder refers to them.

    Args:
        tensor: External data of some file.
        location: Where its bytes lie, from ``folder``.
        folder: Folder of the .onnx that will refer to them.
    """
    return ir.ExternalTensor(
        location=location.as_posix(),
        offset=tensor.offset,
        length=tensor.length,
        dtype=tensor.dtype,
        shape=tensor.shape,
        name=tensor.name or "",
        base_dir=folder,
    )


def drop_transposes(model: ir.Model, transposed: Collection[str]) -> None:
    """Removes the Transposes of parameters that the file stores transposed already."""
    for name in transposed:
        value = model.graph.initializers[name]
        tensor = value.const_value
        assert tensor is not None
        value.shape = ir.Shape(list(tensor.shape.numpy()))
        for node in [use.node for use in value.uses()]:
            node.outputs[0].replace_all_uses_with(value)
            model.graph.remove(node, safe=True)
