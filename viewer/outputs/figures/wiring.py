"""What goes between closed boxes: arrows, buses, the boxes of inputs and outputs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import get_args

from viewer.model.atlas import Atlas
from viewer.model.tree import Flow, Node, Tree, Value
from viewer.outputs.figures.columns import columns
from viewer.outputs.figures.figure import BUS, Arrow, Box, Bus, shape_text
from viewer.outputs.roles import ROLE_OF_FLOW
from viewer.outputs.skips import crossings


@dataclass(frozen=True)
class Closed:
    """Boxes, and which of them each operator that is drawn lies in."""

    boxes: tuple[Box, ...]
    owner: dict[int, int]


def is_bookkeeping(tree: Tree, leaf: Node) -> bool:
    """No data passes through an operator: it computes a size, or rearranges a weight."""
    return bool(leaf.outputs) and all(tree.values[v].flow == "shape" for v in leaf.outputs)


def wire(
    atlas: Atlas, root: Node | None, closed: Closed
) -> tuple[tuple[Box, ...], tuple[Arrow, ...], tuple[Bus, ...]]:
    """Follows every value from the box it is made in to those it is read in.

    Args:
        atlas: A read model.
        root: The module drawn; None for the whole model.
        closed: What is drawn of it.

    Returns:
        The boxes, ports added and buses marked, in columns if they form a U; the arrows, in
        the order of their values; the buses.
    """
    closed = _fold_joins(atlas.tree, closed)
    wiring = _Wiring(atlas, root, closed.owner, list(closed.boxes))
    arrows, buses = wiring.connect()
    boxes = wiring.boxes if root else columns(atlas, wiring.boxes, arrows)
    return tuple(boxes), tuple(arrows), tuple(buses)


def _fold_joins(tree: Tree, closed: Closed) -> Closed:
    """Draws a Concat that feeds one closed module as that module's second input."""
    boxes, owner = list(closed.boxes), dict(closed.owner)
    folded: set[int] = set()
    for box in boxes:
        if box.kind != "op" or box.role != "skip":
            continue
        leaf = tree.nodes[box.nodes[0]]
        reading = (r for v in leaf.outputs for r in tree.consumers.get(v, ()) if r in owner)
        readers = {owner[reader] for reader in reading}
        target = boxes[readers.pop()] if len(readers) == 1 else box
        if target.kind == "call" and target.frame == box.frame:
            owner[leaf.id] = target.id
            boxes[target.id] = replace(target, joins=True)
            folded.add(box.id)
    kept = [box for box in boxes if box.id not in folded]
    number = {box.id: index for index, box in enumerate(kept)}
    return Closed(
        tuple(replace(box, id=number[box.id]) for box in kept),
        {leaf: number[box] for leaf, box in owner.items()},
    )


@dataclass
class _Wiring:
    atlas: Atlas
    root: Node | None
    owner: dict[int, int]
    boxes: list[Box]

    def __post_init__(self) -> None:
        self.ports: dict[tuple[str, int], int] = {}

    def connect(self) -> tuple[list[Arrow], list[Bus]]:
        found: dict[tuple[int, int, Flow], list[Value]] = {}
        buses: list[Bus] = []
        for value in self.atlas.tree.values:
            readers = self.readers(value)
            if not readers:
                continue
            source = self.source(value)
            readers.pop(source, None)
            on_bus = self.on_bus(value, source, readers)
            if on_bus:
                buses.append(Bus(value.flow, value.name, value.shape))
                self.mark(value.flow, source, on_bus)
            for target, flow in readers.items():
                if target not in on_bus:
                    found.setdefault((source, target, flow), []).append(value)
        for value in self.results():
            key = (self.source(value), self.port(value, "output"), _plain(value))
            found.setdefault(key, []).append(value)
        arrows = [
            Arrow(source, target, flow, tuple(value.shape for value in values))
            for (source, target, flow), values in found.items()
        ]
        return arrows, buses

    def readers(self, value: Value) -> dict[int, Flow]:
        """Boxes that read a value, and as what; none for sizes and weights."""
        if value.flow == "shape":
            return {}
        found: dict[int, Flow] = {}
        for leaf in self.atlas.tree.consumers.get(value.id, ()):
            if leaf in self.owner:
                skips = (value.id, leaf) in self.crossing
                found.setdefault(self.owner[leaf], "skip" if skips else _plain(value))
        return found

    @cached_property
    def crossing(self) -> set[tuple[int, int]]:
        return {(value, reader) for _, value, reader in crossings(self.atlas)}

    def on_bus(self, value: Value, source: int, readers: Iterable[int]) -> list[int]:
        """Readers that get a chip: every block of a U, elsewhere all once they are many."""
        if value.flow not in ROLE_OF_FLOW:
            return []
        if self.is_u:
            return [r for r in readers if self.side(r)] if not self.side(source) else []
        many = list(readers)
        return many if len(many) >= BUS else []

    @cached_property
    def is_u(self) -> bool:
        return self.root is None and {"down", "up"} <= {self.side(b.id) for b in self.boxes}

    def side(self, box: int) -> str:
        nodes = self.atlas.tree.nodes
        return next((nodes[n].side for n in self.boxes[box].nodes if nodes[n].side), "")

    def mark(self, flow: Flow, source: int, readers: Iterable[int]) -> None:
        """Notes a bus on the box it leaves and on those it enters."""
        box = self.boxes[source]
        self.boxes[source] = replace(box, feeds=_with(box.feeds, flow))
        for target in readers:
            box = self.boxes[target]
            self.boxes[target] = replace(box, takes=_with(box.takes, flow))

    def source(self, value: Value) -> int:
        """The box a value is made in; a port when that is not drawn."""
        if value.producer is not None and value.producer in self.owner:
            return self.owner[value.producer]
        return self.port(value, "input")

    def results(self) -> list[Value]:
        outputs = self.root.outputs if self.root else self.atlas.tree.outputs
        values = (self.atlas.tree.values[value] for value in outputs)
        return [v for v in values if v.producer is not None and v.producer in self.owner]

    def port(self, value: Value, kind: str) -> int:
        """The box of a value that comes from outside, or leaves."""
        key = (kind, value.id)
        if key not in self.ports:
            self.ports[key] = len(self.boxes)
            role = ROLE_OF_FLOW.get(value.flow, "")
            box = Box(
                self.ports[key],
                "input" if kind == "input" else "output",
                self.port_name(value) if kind == "input" else value.name,
                shape_text(value.shape),
                role,
            )
            self.boxes.append(box)
        return self.ports[key]

    def port_name(self, value: Value) -> str:
        """Inside a module its own name for it, else the name in the graph."""
        if self.root is not None and value.id in self.root.inputs:
            at = self.root.inputs.index(value.id)
            if at < len(self.root.formals) and self.root.formals[at]:
                return self.root.formals[at]
        return value.name


def _plain(value: Value) -> Flow:
    """What crosses the U is marked as a skip everywhere; on its way down it is the image."""
    return "image" if value.flow == "skip" else value.flow


def _with(flows: tuple[Flow, ...], flow: Flow) -> tuple[Flow, ...]:
    """Flows in their usual order, each once."""
    return tuple(one for one in get_args(Flow) if one in (*flows, flow))
