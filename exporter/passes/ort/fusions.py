"""The fusions of ``onnxruntime.transformers``, as one pass that keeps our metadata."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import onnx_ir as ir

from exporter import metadata as meta
from exporter.passes.ort.contrib import permuted
from exporter.passes.ort.group_norm import NHWC

_SKIPS = (meta.SKIP, meta.SKIP_END, meta.SKIP_SOURCE, meta.SKIP_SINK)


class Fusions(ir.passes.FunctionalPass):
    """Runs ``UnetOnnxModel`` over a flat graph whose parameters are inputs.

    A fused node takes the metadata of the node whose first output it now makes, an NhwcConv
    that of its Conv; what it had to add (a Transpose) takes that of its user.

    Args:
        fusions: What to turn on, as in ``FusionOptions``: ``skip_layer_norm`` for
            ``enable_skip_layer_norm``.
        parameters: Names of the inputs that are parameters.
    """

    def __init__(self, fusions: Sequence[str], parameters: Collection[str]) -> None:
        super().__init__()
        self.fusions, self.parameters = fusions, parameters

    def call(self, model: ir.Model) -> ir.passes.PassResult:  # noqa: D102
        from exporter.passes.ort.unet_model import UnetModel, options  # seconds to import

        _name_all(model)
        known = {value.name or "": value for value in model.graph.inputs}
        known |= {value.name or "": value for n in model.graph for value in n.outputs}
        values = {
            name: (
                int(value.dtype),
                [d if isinstance(d, int) else str(d) for d in value.shape],
            )
            for name, value in known.items()
            if value.dtype is not None and value.shape is not None
        }
        parameters = {name: values[name] for name in self.parameters}
        unet = UnetModel(ir.to_proto(model), parameters, values)
        unet.optimize(options(self.fusions))
        fused = ir.from_proto(unet.model)
        fused.graph.sort()
        _describe(fused.graph, known)
        modified = [n.op_type for n in fused.graph] != [n.op_type for n in model.graph]
        return ir.passes.PassResult(fused, modified)


def _name_all(model: ir.Model) -> None:
    """A unique name for every node and value that has none: the optimiser goes by names."""
    for index, node in enumerate(model.graph):
        node.name = node.name or f"new/{node.op_type}_{index}"
        for place, value in enumerate(node.outputs):
            value.name = value.name or f"{node.name}:{place}"


def _describe(graph: ir.Graph, known: Mapping[str, ir.Value]) -> None:
    """Shapes and metadata again, which ``graph``'s new nodes lack."""
    for node in reversed(list(graph)):
        for value in node.outputs:
            old = known.get(value.name or "")
            if old is not None:
                value.shape, value.type = old.shape, old.type
        if meta.MODULE in node.metadata_props:
            continue
        same = known.get(node.outputs[0].name or "")
        origin = same.producer() if same is not None else None
        if origin is not None:
            node.metadata_props.update(origin.metadata_props)
            continue
        near = _conv(node, known) or next((u.node for u in node.outputs[0].uses()), None)
        props = near.metadata_props if near is not None else {}
        node.metadata_props.update({k: v for k, v in props.items() if k not in _SKIPS})


def _conv(node: ir.Node, known: Mapping[str, ir.Value]) -> ir.Node | None:
    """The Conv that an NhwcConv was, by whose result it is named; tells it the shape."""
    if node.op_type != "NhwcConv":
        return None
    result = node.outputs[0]
    old = known[(result.name or "").partition("_out-")[2]]
    result.shape, result.type = permuted(old, NHWC), old.type
    return old.producer()
