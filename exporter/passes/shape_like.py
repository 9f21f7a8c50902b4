"""Sizes taken from a neighbouring tensor instead of arithmetic on the graph's inputs."""

from __future__ import annotations

from collections import deque

import onnx_ir as ir

from exporter.values import dims, sole_user

_TO_IMAGE = [0, 3, 1, 2]  # (B, H, W, C) -> (B, C, H, W)


class ShapeLike(ir.passes.InPlacePass):
    """Reads height and width off the tensor that the result is about to meet.

    PyTorch computes ``view(b, h, w, c)`` and ``interpolate(size=...)`` from the latent's size,
    several modules away. The result is always added to, or concatenated with, a tensor of
    that very size: a residual or a skip connection. Its ``Shape`` gives the same numbers
    without a single value crossing modules for the purpose.

    - tokens to image: ``Reshape, Transpose`` -> ``Transpose, Reshape(Shape(residual))``
    - upsampling: ``Resize(sizes)`` -> ``Resize(Shape(skip)[2:4], axes=[2, 3])``
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:  # noqa: D102
        order = {node: index for index, node in enumerate(model.graph)}
        modified = False
        for node in list(model.graph):
            if node.op_type == "Reshape":
                modified |= _tokens_to_image(model.graph, node, order)
            elif node.op_type == "Resize" and len(node.inputs) == 4:
                modified |= _resize(model.graph, node, order)
        return ir.passes.PassResult(model, modified)


def _tokens_to_image(graph: ir.Graph, reshape: ir.Node, order: dict[ir.Node, int]) -> bool:
    tokens, image = reshape.inputs[0], reshape.outputs[0]
    transpose = sole_user(image)
    before, after = dims(tokens), dims(image)
    if tokens is None or before is None or after is None or len(before) != 3:
        return False
    if len(after) == 4 and transpose is not None and transpose.op_type == "Transpose":
        if list(transpose.attributes["perm"].as_ints()) != _TO_IMAGE:
            return False
        result = transpose.outputs[0]
        turned: list[ir.Node] = [
            ir.node("Transpose", [tokens], {"perm": [0, 2, 1]}, name=reshape.name)
        ]
        turned[0].outputs[0].shape = ir.Shape([before[0], before[2], before[1]])
        turned[0].outputs[0].type = tokens.type
        turned[0].metadata_props.update(transpose.metadata_props)
        flat = turned[0].outputs[0]
        old = [reshape, transpose]
    elif len(after) == 4 and isinstance(after[1], int):
        result, turned, flat, old = image, [], tokens, [reshape]  # (B, C, HW) -> (B, C, H, W)
    else:
        return False
    like = _meets(result, order[reshape], order)
    if like is None:
        return False
    shape = ir.node("Shape", [like], metadata_props=reshape.metadata_props)
    new = ir.node(
        "Reshape",
        [flat, shape.outputs[0]],
        name=old[-1].name,
        metadata_props=reshape.metadata_props,
    )
    shape.outputs[0].shape = ir.Shape([4])
    shape.outputs[0].type = ir.TensorType(ir.DataType.INT64)
    ir.convenience.replace_nodes_and_values(
        graph, old[-1], old, [*turned, shape, new], [result], new.outputs
    )
    return True


def _resize(graph: ir.Graph, node: ir.Node, order: dict[ir.Node, int]) -> bool:
    like = _meets(node.outputs[0], order[node], order, channels=False)
    if like is None:
        return False
    shape = ir.node(
        "Shape", [like], {"start": 2, "end": 4}, metadata_props=node.metadata_props
    )
    shape.outputs[0].shape = ir.Shape([2])
    shape.outputs[0].type = ir.TensorType(ir.DataType.INT64)
    graph.insert_before(node, shape)
    node.replace_input_with(3, shape.outputs[0])
    node.replace_input_with(1, None)
    node.replace_input_with(2, None)
    node.attributes["axes"] = ir.AttrInt64s("axes", [2, 3])
    return True


def _meets(
    value: ir.Value, position: int, order: dict[ir.Node, int], *, channels: bool = True
) -> ir.Value | None:
    """The nearest tensor downstream, older than ``value``, that has its height and width."""
    wanted = dims(value)
    if wanted is None:
        return None
    queue, seen = deque([value]), {value}
    while queue:
        for usage in queue.popleft().uses():
            for other in usage.node.inputs if usage.node.op_type in ("Add", "Concat") else ():
                if other is not None and _fits(other, wanted, channels=channels):
                    producer = other.producer()
                    if producer is None or order.get(producer, position) < position:
                        return other
            fresh = [output for output in usage.node.outputs if output not in seen]
            seen.update(fresh)
            queue.extend(fresh)
    return None


def _fits(value: ir.Value, wanted: tuple[int | str, ...], *, channels: bool) -> bool:
    shape = dims(value)
    if shape is None or len(shape) != 4:
        return False
    return shape == wanted if channels else shape[2:] == wanted[2:]
