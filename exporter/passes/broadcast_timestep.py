"""The timestep is one number: it meets the batch by broadcasting, at its first injection."""

from __future__ import annotations

import onnx_ir as ir

from exporter.values import dims

_BROADCASTING = {"Add", "Sub", "Mul", "Div"}
_POINTWISE = {
    "Sin", "Cos", "Sigmoid", "Swish", "Cast", "Unsqueeze", "Gelu", "Tanh", "Relu", "Erf",
    "Split", "Concat", "Slice",
}  # fmt: skip
_ROWWISE = {"Gemm", "MatMul", "LayerNormalization"}


class BroadcastTimestep(ir.passes.InPlacePass):
    """Removes the ``Expand`` of ``timestep`` to the batch size.

    diffusers expands the timestep to (B,) before embedding it, or multiplies it with as many
    ones (UNet2DModel). Row by row the embedding is
    the same, and every later use adds or multiplies it onto a tensor of the batch, which
    broadcasts. Without the Expand the time path is computed once per step, reads nothing of
    ``sample``, and the graph takes one timestep or one per sample. Left alone where a use does
    not broadcast (a Concat with a tensor of the batch, for instance).
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:  # noqa: D102
        for node in model.graph:
            source = _expanded(node)
            if source is not None:
                narrow = _narrow_values(model.graph, node.outputs[0])
                if narrow is None:
                    continue
                for value in narrow:
                    shape = dims(value) or ()
                    value.shape = ir.Shape(["T", *shape[1:]])
                node.outputs[0].replace_all_uses_with(source, replace_graph_outputs=False)
                return ir.passes.PassResult(model, modified=True)
        return ir.passes.PassResult(model, modified=False)


def _expanded(node: ir.Node) -> ir.Value | None:
    """The timestep, if ``node`` does nothing but repeat it for every sample."""
    if node.op_type == "Expand" and _from_timestep(node.inputs[0]):
        return node.inputs[0]
    if node.op_type == "Mul" and any(map(_is_ones, node.inputs)):
        return next((value for value in node.inputs if _from_timestep(value)), None)
    return None


def _is_ones(value: ir.Value | None) -> bool:
    node = value.producer() if value is not None else None
    if node is None or node.op_type != "Expand":
        return False
    constant = ir.convenience.get_const_tensor(node.inputs[0]) if node.inputs[0] else None
    return constant is not None and bool((constant.numpy() == 1).all())


def _from_timestep(value: ir.Value | None) -> bool:
    while value is not None and value.name != "timestep":
        node = value.producer()
        if node is None or node.op_type not in ("Cast", "Reshape", "Unsqueeze"):
            return False
        value = node.inputs[0]
    return value is not None and dims(value) == ("T",)


def _narrow_values(graph: ir.Graph, expanded: ir.Value) -> list[ir.Value] | None:
    """Values that keep T rows once ``expanded`` does, or None if some use needs B rows."""
    narrow = {expanded}
    for node in graph:
        inputs = [value for value in node.inputs if value is not None]
        if narrow.isdisjoint(inputs):
            continue
        meets_batch = any("B" in (dims(v) or ("B",)) for v in inputs if v not in narrow)
        if meets_batch and node.op_type not in _BROADCASTING:
            return None
        if meets_batch:
            continue
        rowwise = node.op_type in _ROWWISE and narrow.isdisjoint(node.inputs[1:])
        if not rowwise and node.op_type not in _POINTWISE | _BROADCASTING:
            return None
        narrow.update(node.outputs)
    return list(narrow)
