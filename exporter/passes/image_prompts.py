"""The second attention of an IP-Adapter becomes a module of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import onnx_ir as ir

from exporter import metadata as meta
from exporter.conditions.ip_adapter import EMBEDS, PROCESSOR
from exporter.paths import is_inside
from exporter.reading.attentions import Attention, find_attentions
from exporter.reading.flow import Flow


class ImagePrompts(ir.passes.InPlacePass):
    """Moves what meets an image prompt within a cross-attention to the attention's processor.

    diffusers calls a processor as a function, so that torch puts what it computes into the
    module of the attention itself. What reads image tokens, up to the sum with the text's
    result, is the processor's own: folded, one call beside the text's attention.

    Args:
        classes: Qualified class of every module by path.
    """

    def __init__(self, classes: Mapping[str, str]) -> None:
        super().__init__()
        self.classes = classes

    def call(self, model: ir.Model) -> ir.passes.PassResult:  # noqa: D102
        graph = model.graph
        names = [value.name or "" for value in graph.inputs]
        if not any(name.startswith(EMBEDS) for name in names):
            return ir.passes.PassResult(model, modified=False)
        data = (n for n in names if n.startswith(EMBEDS) or n in _DATA)
        flow = Flow(graph, data)
        for attention in find_attentions(flow):
            if attention.role(flow) == "image_prompt":
                self._move(attention, flow)
        return ir.passes.PassResult(model, modified=True)

    def _move(self, attention: Attention, flow: Flow) -> None:
        around = attention.anchor.metadata_props[meta.MODULE]
        own = f"{around}.{PROCESSOR}"
        for node in _own_nodes(attention, flow, around):
            if not is_inside(node.metadata_props[meta.MODULE], own):
                node.metadata_props[meta.MODULE] = own
                node.metadata_props[meta.CLASS] = self.classes[own]


_DATA = ("sample", "encoder_hidden_states")


def _own_nodes(attention: Attention, flow: Flow, around: str) -> Iterator[ir.Node]:
    """Keys and values, and what is computed from them up to the sum with another result."""
    own = {
        node
        for value in (attention.k, attention.v)
        for node in flow.ancestors(value)
        if is_inside(node.metadata_props[meta.MODULE], around)
    }
    own.add(attention.anchor)
    yield from own
    for node in flow.nodes:
        reads = [v for v in node.inputs if v is not None and v.producer() in own]
        if not reads or node in own:
            continue
        if not is_inside(node.metadata_props[meta.MODULE], around):
            continue
        yield node
        others = [v for v in node.inputs if v is not None and v not in reads]
        if node.op_type == "Add" and any(flow.is_image(value) for value in others):
            continue  # with the text's result: here the two doors meet
        own.add(node)
