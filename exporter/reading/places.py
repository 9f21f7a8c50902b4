"""Where nodes stand in the U, written into their metadata: side, level, skips, names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

import onnx_ir as ir

from exporter import metadata as meta
from exporter.conditions.ip_adapter import EMBEDS
from exporter.reading.flow import Flow
from exporter.reading.modules import module_of
from exporter.reading.skips import Skip
from exporter.values import dims

_ENDS = ("conv_in", "conv_out", "control_image", "zero_convolution")


def write_sides(
    flow: Flow,
    skips: Sequence[Skip],
    role: Mapping[ir.Node, str],
    beside: Set[ir.Node],
    taps: Sequence[ir.Value] = (),
) -> None:
    """Down: computed on the way to a skip's source. Up: computed from a sink.

    Args:
        flow: The graph.
        skips: Its skip connections; without any, there is no U and no node has a side.
        role: Role of every node.
        beside: Nodes of ControlNets, which stand beside the U.
        taps: Of a ControlNet by itself: what its convolutions read on the way down.
    """
    before = set[ir.Node]().union(*(flow.ancestors(value) for value in taps))
    for skip in skips:
        before |= {skip.source} | flow.ancestors(skip.value)
    after: set[ir.Node] = set()
    for skip in skips:
        after |= {skip.sink} | flow.descendants(skip.sink.outputs[0])
    side: dict[ir.Node, str | None] = {}
    for node in reversed(flow.nodes):
        if role[node] in _ENDS or node in beside:
            side[node] = None
        elif flow.is_image(node.outputs[0]):
            side[node] = "up" if node in after else "down" if node in before else "mid"
        else:  # vectors, text and parameters: where they are used, if in one place
            sides = {side[user] for user in flow.users(node)}
            side[node] = sides.pop() if len(sides) == 1 else None
        if side[node] is not None and (skips or taps):
            node.metadata_props[meta.SIDE] = side[node] or ""


def write_levels(flow: Flow) -> None:
    """How often the image was halved where a node works; none for vectors and text."""
    for node in flow.nodes:
        level = flow.level(node)
        if level is not None:
            node.metadata_props[meta.LEVEL] = str(level)


def write_skips(skips: Sequence[Skip]) -> None:
    """Numbers of the skips that begin or end at a node, and which of the two."""
    for skip in skips:
        for node, key, end in (
            (skip.source, meta.SKIP_SOURCE, "source"),
            (skip.sink, meta.SKIP_SINK, "sink"),
        ):
            props = node.metadata_props
            for name in (meta.SKIP, key):
                ids = [i for i in props.get(name, "").split(",") if i]
                props[name] = ",".join([*ids, str(skip.id)])
            ends = [e for e in props.get(meta.SKIP_END, "").split(",") if e]
            props[meta.SKIP_END] = ",".join(dict.fromkeys([*ends, end]))


def name_values(flow: Flow, skips: Sequence[Skip], role: Mapping[ir.Node, str]) -> None:
    """Names what crosses the U ``skip_0``.., what several blocks read ``temb`` or ``text``."""
    for skip in skips:
        if not (skip.value.name or "").startswith("skip_"):
            skip.value.name = f"skip_{skip.id}"
    for wanted, name in (("time_embedding", "temb"), ("text", "text")):
        shared = [
            node.outputs[0]
            for node in flow.nodes
            if role[node] == wanted and len(_blocks(node, flow)) > 1
        ]
        for index, value in enumerate(reversed(shared)):
            value.name = f"{name}_{index}" if index else name
    for node in flow.nodes:  # tokens of a reference image: ``image_0``, ``image_1``
        value = node.outputs[0]
        tokens = role[node] == "image_prompt" and len(dims(value) or ()) == 4
        sources = [s for s in flow.sources(value) if s.startswith(EMBEDS)]
        if tokens and len(sources) == 1 and len(_blocks(node, flow)) > 1:
            value.name = f"image_{sources[0].removeprefix(EMBEDS)}"


def _blocks(node: ir.Node, flow: Flow) -> set[str]:
    """Blocks that read a node's result: ``mid_block``, ``up_blocks.1``."""
    return {".".join(module_of(user).split(".")[:2]) for user in flow.users(node)}
