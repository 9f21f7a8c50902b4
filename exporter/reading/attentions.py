"""Attentions of a flat graph, whatever the opset spells them with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx_ir as ir

from exporter.conditions.ip_adapter import EMBEDS
from exporter.reading.flow import Flow
from exporter.values import dims

PRODUCTS = ("MatMul", "Einsum")
MAX_HOPS = 6  # Softmax is a few Mul, Add or Cast away from its two MatMuls


@dataclass(frozen=True)
class Attention:
    """One scaled dot-product attention.

    Attributes:
        anchor: The ``Attention`` node, or the Softmax of a decomposed one.
        q: Query operand.
        k: Key operand.
        v: Value operand.
        heads: Number of heads, None if the shapes do not tell.
        head_dim: Channels per head, likewise.
    """

    anchor: ir.Node
    q: ir.Value
    k: ir.Value
    v: ir.Value
    heads: int | None
    head_dim: int | None

    def role(self, flow: Flow) -> str:
        """Self, cross, joint or of an image prompt: told by where K and V come from."""
        prompted = flow.sources(self.k) | flow.sources(self.v)
        if prompted and all(source.startswith(EMBEDS) for source in prompted):
            return "image_prompt"
        if not flow.is_image(self.k) and not flow.is_image(self.v):
            return "cross_attention"
        mixes = any(
            node.op_type == "Concat"
            and len({flow.is_image(value) for value in node.inputs}) == 2
            for node in _nearby(self.k)
        )
        return "joint_attention" if mixes else "self_attention"


def find_attentions(flow: Flow) -> Iterator[Attention]:
    """Every attention in which the image asks, in graph order."""
    for node in flow.nodes:
        if node.op_type == "Attention":
            if flow.is_image(node.inputs[0]):
                yield _native(node)
        elif node.op_type == "Softmax" and flow.is_image(node.outputs[0]):
            found = _decomposed(node)
            if found is not None:
                yield found


def _native(node: ir.Node) -> Attention:
    q, k, v = node.inputs[:3]
    assert q is not None
    assert k is not None
    assert v is not None
    shape = dims(q) or ()
    heads = (
        node.attributes["q_num_heads"].as_int() if "q_num_heads" in node.attributes else None
    )
    if heads is None and len(shape) == 4 and isinstance(shape[1], int):
        heads = shape[1]
    last = shape[-1] if shape else None
    if not isinstance(last, int) or heads is None:
        return Attention(node, q, k, v, heads, None)
    return Attention(node, q, k, v, heads, last if len(shape) == 4 else last // heads)


def _decomposed(softmax: ir.Node) -> Attention | None:
    scores = _matmul_before(softmax)
    mixing = _matmul_after(softmax)
    if scores is None or mixing is None:
        return None
    q, k, v = scores.inputs[0], scores.inputs[1], mixing.inputs[1]
    if q is None or k is None or v is None:
        return None
    shape = dims(q) or ()
    heads = shape[1] if len(shape) == 4 and isinstance(shape[1], int) else None
    size = shape[-1] if shape and isinstance(shape[-1], int) else None
    return Attention(softmax, q, k, v, heads, size)


def _matmul_before(node: ir.Node) -> ir.Node | None:
    for _ in range(MAX_HOPS):
        producer = node.inputs[0].producer() if node.inputs[0] is not None else None
        if producer is None or producer.op_type in PRODUCTS:
            return producer
        node = producer
    return None


def _matmul_after(node: ir.Node) -> ir.Node | None:
    for _ in range(MAX_HOPS):
        users = [usage.node for usage in node.outputs[0].uses()]
        if len(users) != 1 or users[0].op_type in PRODUCTS:
            return users[0] if len(users) == 1 else None
        node = users[0]
    return None


def _nearby(value: ir.Value) -> Iterator[ir.Node]:
    for _ in range(MAX_HOPS):
        node = value.producer()
        if node is None:
            return
        yield node
        if node.op_type == "Concat" or not node.inputs or node.inputs[0] is None:
            return
        value = node.inputs[0]
