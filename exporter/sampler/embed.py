"""A UNet's file as one function ``UNet``: the same nodes, functions and linked weights."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import onnx_ir as ir

from exporter import metadata as meta
from exporter.errors import TargetError
from exporter.runtime.loading import load_graph
from exporter.weights.attach import moved

DOMAIN = "unet"
NAME = "UNet"

DOC = """\
One denoising step: the noise (or velocity) in `sample` at `timestep`.

The same graph as the file it was made from, node for node, and the same weights."""


def load(path: Path) -> ir.Model:
    """A model whose external data is found wherever the process stands.

    Raises:
        UsageError: It cannot be read.
    """
    model = load_graph(path)
    folder = path.absolute().parent
    for value in model.graph.initializers.values():
        if isinstance(value.const_value, ir.ExternalTensor):
            value.const_value.base_dir = folder
    for _, _, tensor in _linked(model):
        tensor.base_dir = folder
    return model


def as_function(
    model: ir.Model, name: str = NAME, domain: str = DOMAIN, doc: str = DOC
) -> ir.Function:
    """The model's top level as a function; its initializers become ``Constant`` nodes.

    Args:
        model: A UNet's file, loaded. Consumed: its graph is the function's from now on.
        name: Of the function.
        domain: Of the function.
        doc: Markdown for the function.
    """
    graph = model.graph
    constants = [_constant(value) for value in list(graph.initializers.values())]
    for value, node in constants:
        value.replace_all_uses_with(node.outputs[0])
        graph.initializers.pop(value.name or "")
        node.outputs[0].name = value.name
        graph.insert_before(graph[0], node)
    graph.opset_imports.update(
        {d: v for d, v in model.opset_imports.items() if d in _domains(graph)}
    )
    function = ir.Function(domain, name, graph=graph, attributes=[])
    function.doc_string = doc
    return function


def _domains(graph: ir.Graph) -> set[str]:
    return {"", *(node.domain for node in graph.all_nodes())}


def _constant(value: ir.Value) -> tuple[ir.Value, ir.Node]:
    user = next(use.node for use in value.uses())
    node = ir.node(
        "Constant",
        [],
        {"value": value.const_value},
        name=f"{value.name}/Constant",
        metadata_props={k: v for k, v in user.metadata_props.items() if k != meta.SKIP_SOURCE},
    )
    node.outputs[0].shape, node.outputs[0].type = value.shape, value.type
    return value, node


def relink(model: ir.Model, folder: Path) -> None:
    """Names external data relative to the folder that the model will be written to.

    Raises:
        TargetError: The weights are not at or below it, which ONNX does not allow.
    """
    for node, name, tensor in _linked(model):
        relative = Path(os.path.relpath(Path(tensor.path).absolute(), folder))
        if ".." in relative.parts:
            raise TargetError(
                f"the weights lie in {Path(tensor.path).absolute().parent}",
                f"a folder at or below {folder}",
                "write the sampler beside the UNet's file",
            )
        node.attributes[name] = ir.AttrTensor(name, moved(tensor, relative, folder))


def _linked(model: ir.Model) -> Iterator[tuple[ir.Node, str, ir.ExternalTensor]]:
    """Every ``Constant`` whose tensor lies outside the file."""
    for graph in (model.graph, *(f.graph for f in model.functions.values())):
        for node in graph.all_nodes():
            for name, attribute in node.attributes.items():
                if isinstance(attribute.value, ir.ExternalTensor):
                    yield node, name, attribute.value
