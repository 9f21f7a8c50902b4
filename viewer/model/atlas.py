"""One .onnx as one frozen ``Atlas``: what every view of it is drawn from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from viewer.model import file as model_file
from viewer.model import nets, unet
from viewer.model.attention import ATTENTION_ROLES, Attention, attentions
from viewer.model.expand import expand
from viewer.model.flows import with_costs, with_flows
from viewer.model.groups import grouped
from viewer.model.rows import node_row, value_row
from viewer.model.sizes import Nominal
from viewer.model.stage import Stage, find_stage
from viewer.model.standing import Standing, standing
from viewer.model.tree import Node, Tree
from viewer.model.unet import Block, Injection, Skip
from viewer.numbers import plain_json


@dataclass(frozen=True)
class Atlas:
    """A model ready to be seen; no weight has been read.

    Attributes:
        file: The .onnx and the files that belong to it.
        metadata: The model's own metadata, as written.
        nominal: Size at which shapes are numbers and costs are counted.
        tree: The hierarchy and the flow of data.
        blocks: The boxes of the U in the order in which data passes them.
        skips: Connections across the U.
        injections: Where the time enters.
        attentions: Every attention with the provenance of Q, K and V.
        missing: What the file does not say, one sentence each.
        stage: The loop around the UNet; None where the file is one call of it.
    """

    file: model_file.ModelFile
    metadata: Mapping[str, str]
    nominal: Nominal
    tree: Tree
    blocks: tuple[Block, ...]
    skips: tuple[Skip, ...]
    injections: tuple[Injection, ...]
    attentions: tuple[Attention, ...]
    missing: tuple[str, ...]
    stage: Stage | None = None

    @property
    def name(self) -> str:
        """What was exported, or the file's name."""
        return self.metadata.get("atlas.model") or self.file.path.stem

    @property
    def config(self) -> Mapping[str, Any]:
        """The diffusers config; empty when the file has none."""
        return _json(self.metadata.get("atlas.model.config"))

    @property
    def weights(self) -> Mapping[str, Any]:
        """Where the weights come from (docs/FORMAT.md, ``atlas.weights``)."""
        return _json(self.metadata.get("atlas.weights"))

    @property
    def weights_note(self) -> str:
        """What every output says of weights that nobody trained; empty for others."""
        random = self.weights.get("source") == "random"
        return "random weights, nothing trained" if random else ""

    @property
    def uncounted(self) -> int:
        """Operators whose cost is unknown: with any, ``flops`` is a lower bound."""
        return sum(self.tree.nodes[node].uncounted for node in self.tree.top)

    @property
    def parity(self) -> Mapping[str, Any]:
        """The exporter's verdict on all that this file computes; empty when it has none."""
        kinds = ("text_to_image.", "sampler.")  # the first holds the second
        kind = next((one for one in kinds if f"atlas.{one[:-1]}" in self.metadata), "")
        return _json(self.metadata.get(f"atlas.{kind}parity"))

    @cached_property
    def standing(self) -> Standing:
        """That verdict, held against the file as it is now."""
        return standing(self.file, self.parity)

    @cached_property
    def params(self) -> int:
        """Number of parameters."""
        written = self.weights.get("parameters")
        if isinstance(written, int):
            return written
        return sum(self.tree.nodes[node].params for node in self.tree.top)

    @cached_property
    def flops(self) -> int:
        """Floating-point operations of one step at the nominal size."""
        return sum(self.tree.nodes[node].flops or 0 for node in self.tree.top)

    @cached_property
    def parts(self) -> Mapping[str, tuple[int, ...]]:
        """By role, the nodes that one steps through: ``cross_attention`` 7 of 16."""
        found: dict[str, list[int]] = {}
        for node in self.tree.nodes:
            role = node.role
            if not role or role in ("shape", "block", *ATTENTION_ROLES):
                continue
            parent = self.tree.nodes[node.parent] if node.parent is not None else None
            if role != "time_injection" and not (parent and parent.role == role):
                found.setdefault(role, []).append(node.id)
        for attention in self.attentions:
            found.setdefault(attention.role, []).append(attention.node)
        if self.injections:
            found["time_injection"] = [i.nodes[-1] for i in self.injections]
        return {role: tuple(ids) for role, ids in found.items()}

    def to_json(self) -> dict[str, Any]:
        """Plain data for the page; every text in it is untrusted.

        Returns:
            Text, numbers, lists and mappings: the model's facts, then ``values`` (rows of
            name, shape, dtype, producer, flow), ``nodes``, ``blocks``, ``skips``,
            ``injections``, ``attentions`` and ``roles`` (the steps of the legend).
        """
        tree, locations = self.tree, list(self.file.locations)
        hidden = "atlas.model.config"
        return {
            "format": 1,
            "name": self.name,
            "file": self.file.path.name,
            "class": self.metadata.get("atlas.model.class", ""),
            "metadata": {key: text for key, text in self.metadata.items() if key != hidden},
            "config": dict(self.config),
            "parity": dict(self.parity),
            "standing": self.standing.to_json(),
            "weights": dict(self.weights),
            "weights_note": self.weights_note,
            "uncounted": self.uncounted,
            "nominal": vars(self.nominal),
            "params": self.params,
            "flops": self.flops,
            "missing": list(self.missing),
            "locations": locations,
            "refused": dict(self.file.refused),
            "inputs": list(tree.inputs),
            "outputs": list(tree.outputs),
            "top": list(tree.top),
            "values": [value_row(value) for value in tree.values],
            "nodes": [node_row(node, locations) for node in tree.nodes],
            "blocks": [
                vars(b) | {"parts": [vars(part) for part in b.parts]} for b in self.blocks
            ],
            "skips": [vars(skip) for skip in self.skips],
            "injections": [vars(injection) for injection in self.injections],
            "attentions": [vars(attention) for attention in self.attentions],
            "roles": {role: list(ids) for role, ids in self.parts.items()},
            "stage": vars(self.stage) if self.stage else None,
        }


def read(
    path: Path,
    max_nodes: int = model_file.MAX_NODES,
    on_stage: Callable[[str], None] = lambda _: None,
) -> Atlas:
    """Reads an .onnx file into an Atlas, in time and memory linear in its size.

    Args:
        path: An .onnx file, annotated by the exporter (docs/FORMAT.md) or not.
        max_nodes: How many operators it may hold.
        on_stage: Told what is about to be done.

    Raises:
        ModelError: The file cannot be opened, is not an ONNX model, or is too large.
    """
    on_stage("file")
    file = model_file.read(path, max_nodes)
    metadata = dict(file.model.metadata_props)
    on_stage("hierarchy")
    tree = grouped(expand(file.model))
    nominal = _fixed(tree, _nominal(_json(metadata.get("atlas.model.config"))))
    on_stage("flows and costs")
    tree = with_costs(with_flows(_guess_sides(tree), _conventional(metadata)), nominal)
    on_stage("blocks and skips")
    found = unet.skips(tree)
    tree = _mark_skips(tree, found)
    boxes = (*unet.blocks(tree, found), *nets.zero_convolutions(tree))
    parts = (boxes, found, unet.injections(tree), attentions(tree))
    stage = find_stage(tree, _json(metadata.get("atlas.sampler")))
    atlas = Atlas(file, metadata, nominal, tree, *parts, missing=(), stage=stage)
    return replace(atlas, missing=tuple(_missing(atlas)))


def _json(text: str | None) -> Mapping[str, Any]:
    try:
        value = plain_json(text or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _conventional(metadata: Mapping[str, str]) -> dict[str, str]:
    """Conventional names of inputs by the file's own."""
    told = _json(metadata.get("atlas.inputs"))
    return {own: name for name, own in told.items() if isinstance(own, str)}


def _nominal(config: Mapping[str, Any]) -> Nominal:
    size = config.get("sample_size")
    sides: list[Any] = size if isinstance(size, list) else [size, size]
    if len(sides) == 2 and all(type(side) is int and 0 < side <= 4096 for side in sides):
        return Nominal(height=sides[0], width=sides[1])
    return Nominal()


def _fixed(tree: Tree, nominal: Nominal) -> Nominal:
    """The size as the graph's inputs fix it, where they do."""
    shapes = {tree.values[value].name: tree.values[value].shape or () for value in tree.inputs}
    image = shapes.get("sample") or next((s for s in shapes.values() if len(s) == 4), ())
    text = shapes.get("encoder_hidden_states", ())
    batch, _, height, width = image if len(image) == 4 else (None,) * 4
    known = {"batch": batch, "height": height, "width": width}
    known["tokens"] = text[1] if len(text) == 3 else None
    return replace(nominal, **{k: v for k, v in known.items() if isinstance(v, int) and v > 0})


_SIDES = (("down_blocks", "down"), ("mid_block", "mid"), ("up_blocks", "up"))


def _guess_sides(tree: Tree) -> Tree:
    """For files without our metadata: diffusers' module names tell the side."""
    if any(node.side for node in tree.nodes):
        return tree

    def guessed(node: Node) -> Node:
        parts = node.module.split(".")
        side = next((side for name, side in _SIDES if name in parts), "")
        return replace(node, side=side) if side else node

    return replace(tree, nodes=tuple(guessed(node) for node in tree.nodes))


def _mark_skips(tree: Tree, found: tuple[Skip, ...]) -> Tree:
    crossing = {skip.value for skip in found}
    values = tuple(replace(v, flow="skip") if v.id in crossing else v for v in tree.values)
    return replace(tree, values=values)


def _missing(atlas: Atlas) -> list[str]:
    """Sentences for what a view cannot show, so that absence is never silent."""
    tree = atlas.tree
    sided = any("atlas.side" in node.metadata for node in tree.nodes)
    drawn = any(block.kind in ("down", "mid", "up") for block in atlas.blocks)
    handed = any(block.kind == "zero" for block in atlas.blocks)
    unknown = sum(1 for value in tree.values if value.shape is None)
    uncounted = atlas.uncounted
    written = atlas.metadata.get("atlas.format")
    standing = atlas.standing
    said = (
        (standing.word == "claimed", f"That parity passed is {standing.text}."),
        (written is None, "No atlas.format: this file was not written by our exporter."),
        (written not in (None, "1"), "atlas.format is newer than this viewer knows."),
        (not any(node.role for node in tree.nodes), "No atlas.role: nothing is coloured."),
        (not drawn, "No sides and no diffusers module names: the U cannot be drawn."),
        (drawn and not sided, "No atlas.side: sides are read from diffusers module names."),
        (not atlas.skips and not handed, "No atlas.skip: skip connections are not known."),
        (
            not any(node.kind == "call" for node in tree.nodes),
            "No local functions: modules are grouped here, and Netron draws the graph flat.",
        ),
        (atlas.file.inferred, "Shapes were inferred by onnx.shape_inference on opening."),
        (unknown > 0, f"{unknown} of {len(tree.values)} values have no shape."),
        (uncounted > 0, f"{uncounted} of {len(tree.leaves)} operators have no FLOPs count."),
        (tree.truncated, "The graph is too large: calls beyond the limit stay closed."),
    )
    return [text for is_so, text in said if is_so] + list(atlas.file.refused.values())
