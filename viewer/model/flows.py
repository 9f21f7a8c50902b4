"""Two passes over a ``Tree``: which path each value belongs to, and what each node costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from viewer.model.sizes import Nominal, flops, size
from viewer.model.tree import ABSENT, Flow, Node, Tree
from viewer.numbers import count

_INPUT_FLOWS: dict[str, Flow] = {
    "sample": "image",
    "timestep": "time",
    "timesteps": "time",
    "timestep_cond": "time",
    "class_labels": "time",
    "text_embeds": "time",
    "time_ids": "time",
    "encoder_hidden_states": "text",
    "image_embeds": "prompt",
    "hint": "control",
    # of a sampler's file, and of a text-to-image file (docs/FORMAT.md)
    "prompt_embeds": "text",
    "negative_prompt_embeds": "text",
    "pooled_prompt_embeds": "time",
    "negative_pooled_prompt_embeds": "time",
    "negative_time_ids": "time",
    "num_inference_steps": "time",
    "guidance_scale": "shape",
    "guidance_rescale": "shape",
    "input_ids": "text",
    "input_ids_2": "text",
    "negative_input_ids": "text",
    "negative_input_ids_2": "text",
    "zero_negative": "shape",
}

_NUMBERED: dict[str, Flow] = {
    "image_embeds_": "prompt",
    "ip_adapter_scale_": "shape",
    "controlnet_cond": "control",
    "controlnet_scale_": "shape",
    "conditioning_scale": "shape",
}


def with_flows(tree: Tree, names: Mapping[str, str] | None = None) -> Tree:
    """Follows the graph inputs: what depends on the image is image, the rest time or text.

    ``Shape`` reads no data, so nothing flows through it.

    Args:
        tree: As read.
        names: Conventional names of inputs by the file's own, where they differ.
    """
    own = {value: tree.values[value].name for value in tree.inputs}
    flow = {value: _flow_of((names or {}).get(name, name)) for value, name in own.items()}
    for node in tree.leaves:
        seen = {flow.get(value, "shape") for value in node.inputs if value >= 0}
        result = _join(seen) if node.op not in ("Shape", "Size") else "shape"
        flow.update(dict.fromkeys(node.outputs, result))
    values = tuple(replace(v, flow=flow.get(v.id, "shape")) for v in tree.values)
    return replace(tree, values=values)


def _flow_of(name: str) -> Flow:
    """Of a graph input: ``prompt`` is an IP-Adapter's image, ``control`` a ControlNet's."""
    for start, flow in _NUMBERED.items():
        if name.startswith(start):
            return flow
    return _INPUT_FLOWS.get(name, "image")


def _join(seen: set[Flow]) -> Flow:
    for flow in ("image", "time", "text", "prompt", "control"):
        if flow in seen:
            return flow
    return "shape"


def with_costs(tree: Tree, nominal: Nominal) -> Tree:
    """Counts FLOPs of every operator and sums them, and the parameters, up the hierarchy."""
    nodes = list(tree.nodes)
    for node in reversed(tree.nodes):  # children before parents
        if node.kind == "op":
            params = sum(size(w.shape) or 0 for w in node.weights if w.parameter)
            cost = _cost(tree, node, nominal)
            nodes[node.id] = replace(
                node, params=params, flops=cost, uncounted=int(cost is None)
            )
            continue
        inside = [nodes[child] for child in node.children]
        written = count(node.metadata.get("atlas.params", ""))
        counted = sum(child.params for child in inside)
        nodes[node.id] = replace(
            node,
            params=counted if written is None else written,
            flops=sum(child.flops or 0 for child in inside),
            uncounted=sum(child.uncounted for child in inside),
        )
    return replace(tree, nodes=tuple(nodes))


def _cost(tree: Tree, node: Node, nominal: Nominal) -> int | None:
    if node.domain not in ("", "com.microsoft"):  # the latter is ONNX Runtime's
        return None
    weights = iter(node.weights)
    inputs: list[tuple[int, ...] | None] = []
    for value in node.inputs:
        if value >= 0:
            inputs.append(nominal.shape(tree.values[value].shape))
        elif value == ABSENT:
            inputs.append(None)
        else:
            weight = next(weights, None)
            inputs.append(weight.shape if weight is not None else None)
    outputs = [nominal.shape(tree.values[value].shape) for value in node.outputs]
    return flops(node.op, inputs, outputs, node.attributes)
