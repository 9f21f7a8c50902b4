"""From an ``Atlas`` to a ``Figure`` of it: which nodes are closed, what goes between them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import get_args

from viewer.atlas import Atlas
from viewer.errors import TargetError
from viewer.outputs.figure import (
    BUS,
    Arrow,
    Box,
    Bus,
    Column,
    Figure,
    Frame,
    count_text,
    shape_text,
)
from viewer.outputs.roles import shown_role
from viewer.tree import Flow, Node, Value


def find_module(atlas: Atlas, module: str) -> Node:
    """The outermost call or group of a module path or deep link.

    Args:
        atlas: A read model.
        module: As in ``get_submodule`` (``mid_block.attentions.0``), or ``Node.path``.

    Raises:
        TargetError: The model has no such module, or it is a single operator.
    """
    with_parts = [node for node in atlas.tree.nodes if node.children]
    for node in with_parts:
        if module in (node.module, node.path):
            return node
    names = [node.module for node in with_parts if node.module]
    close = difflib.get_close_matches(module, names, 3, 0.3) or names[:3]
    known = ", ".join(dict.fromkeys(close)) or "none: this file names no modules"
    raise TargetError(f"no module {module!r} in {atlas.file.path.name}", f"e.g. {known}")


def draw(atlas: Atlas, depth: int, module: str = "") -> Figure:
    """Closes a model, or one module of it, at a depth.

    Args:
        atlas: A read model.
        depth: 1 for blocks, 2 for the modules in them, ...; ``OPERATORS`` opens everything.
        module: Draw the inside of this module alone; depth 1 is then what it consists of.

    Raises:
        TargetError: The model has no such module.
    """
    root = find_module(atlas, module) if module else None
    builder = _Builder(atlas, root)
    if root is None:
        for item in _items(atlas):
            builder.add(item, depth, None)
        title, note = atlas.name, atlas.metadata.get("atlas.model.class", "")
        params = atlas.params
    else:
        for child in root.children:
            builder.add(_item(atlas.tree.nodes[child]), depth, None)
        title, note, params = root.module or root.path, root.cls.rpartition(".")[2], root.params
    counted = f"{count_text(params)} parameters" if params else ""
    note = ", ".join(part for part in (note, counted) if part)
    return builder.figure(title, note)


@dataclass(frozen=True)
class _Item:
    """A node of the tree, or several that make one box of the map."""

    title: str
    note: str
    role: str
    nodes: tuple[Node, ...]
    children: tuple[int, ...]
    bundle: bool = False


def _item(node: Node) -> _Item:
    if node.kind == "op":
        return _Item(node.op, node.segment.partition("~")[0], node.role, (node,), ())
    own = node.cls.rpartition(".")[2] or (node.op if node.kind == "call" else "")
    return _Item(node.segment, own, node.role, (node,), node.children)


def _items(atlas: Atlas) -> list[_Item]:
    """The top level; nodes that the map shows as one box (time, text, output) are bundled."""
    tree = atlas.tree
    bundles = {n: block for block in atlas.blocks if len(block.nodes) > 1 for n in block.nodes}
    found: list[_Item] = []
    for identifier in tree.top:
        block = bundles.get(identifier)
        if block is None:
            found.append(_item(tree.nodes[identifier]))
        elif identifier == block.nodes[0]:
            nodes = tuple(tree.nodes[n] for n in block.nodes if tree.nodes[n].parent is None)
            title = {"time": "time embedding"}.get(block.kind, block.kind)
            role = nodes[0].role
            modules = (n.segment for n in nodes if n.module and n.segment != title)
            names = list(dict.fromkeys(modules))
            note = " · ".join(names[:2]) + (" …" if len(names) > 2 else "")
            found.append(_Item(title, note, role, nodes, tuple(n.id for n in nodes), True))
    return found


@dataclass
class _Builder:
    atlas: Atlas
    root: Node | None
    boxes: list[Box] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    owner: dict[int, int] = field(default_factory=dict)
    ports: dict[int, int] = field(default_factory=dict)
    hidden: int = 0

    def add(self, item: _Item, depth: int, frame: int | None) -> None:
        """Closes an item into a box, or opens it into a frame."""
        tree = self.atlas.tree
        leaves = [leaf for node in item.nodes for leaf in tree.inside(node) if leaf.kind == "op"]
        drawn = [leaf for leaf in leaves if not self.is_bookkeeping(leaf)]
        if not drawn:
            self.hidden += sum(1 for node in item.nodes if node.kind == "op")
            return
        if depth > (2 if item.bundle else 1) and item.children:
            self.open(item, depth, frame)
            return
        first = item.nodes[0]
        role = item.role if item.bundle else shown_role(tree, first)
        if item.children:
            box = Box(len(self.boxes), "call", item.title, item.note, role)
        else:
            box = Box(len(self.boxes), "op", item.title, self.operator_note(first), role)
        block = next((b for b in self.atlas.blocks if b.nodes == (first.id,) and b.parts), None)
        box = replace(
            box,
            level=first.level,
            frame=frame,
            nodes=tuple(node.id for node in item.nodes),
            strip=tuple(part.role for part in block.parts) if block else (),
            size=block.shape if block else None,
            params=sum(node.params for node in item.nodes),
        )
        self.boxes.append(box)
        self.owner.update((leaf.id, box.id) for leaf in drawn)

    def open(self, item: _Item, depth: int, frame: int | None) -> None:
        tree, first = self.atlas.tree, item.nodes[0]
        role = item.role if item.bundle else shown_role(tree, first)
        level = None if item.bundle else first.level
        opened = Frame(len(self.frames), item.title, item.note, role, frame, level)
        self.frames.append(opened)
        for child in item.children:
            self.add(_item(tree.nodes[child]), depth - 1, opened.id)

    def is_bookkeeping(self, leaf: Node) -> bool:
        """No data passes through: it computes a size, or rearranges a weight."""
        values = self.atlas.tree.values
        return bool(leaf.outputs) and all(values[v].flow == "shape" for v in leaf.outputs)

    def operator_note(self, leaf: Node) -> str:
        """Where it stands and the weights it applies, also those behind a Transpose."""
        tree = self.atlas.tree
        weights = list(leaf.weights)
        for value in leaf.inputs:
            producer = tree.values[value].producer if value >= 0 else None
            if producer is not None and self.is_bookkeeping(tree.nodes[producer]):
                weights += tree.nodes[producer].weights
        largest = max((w.shape for w in weights if w.parameter), key=len, default=())
        around = tree.nodes[leaf.parent].module if leaf.parent is not None else ""
        within = leaf.module.removeprefix(around).lstrip(".")
        return " · ".join(part for part in (within, "×".join(map(str, largest))) if part)

    def figure(self, title: str, note: str) -> Figure:
        self.fold_joins()
        arrows, buses = self.arrows()
        boxes = tuple(_columns(self.atlas, self.boxes, arrows) if not self.root else self.boxes)
        return Figure(
            title,
            note,
            boxes,
            tuple(self.frames),
            tuple(arrows),
            tuple(buses),
            self.hidden,
            self.atlas.missing,
        )

    def fold_joins(self) -> None:
        """A Concat that feeds one closed module is drawn as that module's second input."""
        tree = self.atlas.tree
        folded: set[int] = set()
        for box in self.boxes:
            if box.kind != "op" or box.role != "skip":
                continue
            leaf = tree.nodes[box.nodes[0]]
            readers = {
                self.owner[reader]
                for value in leaf.outputs
                for reader in tree.consumers.get(value, ())
                if reader in self.owner
            }
            target = self.boxes[readers.pop()] if len(readers) == 1 else box
            if target.kind == "call" and target.frame == box.frame:
                self.owner[leaf.id] = target.id
                self.boxes[target.id] = replace(target, joins=True)
                folded.add(box.id)
        self.drop(folded)

    def drop(self, gone: set[int]) -> None:
        kept = [box for box in self.boxes if box.id not in gone]
        renumbered = {box.id: index for index, box in enumerate(kept)}
        self.boxes = [replace(box, id=renumbered[box.id]) for box in kept]
        self.owner = {leaf: renumbered[box] for leaf, box in self.owner.items()}

    def arrows(self) -> tuple[list[Arrow], list[Bus]]:
        tree = self.atlas.tree
        crossing = {(skip.value, skip.sink) for skip in self.atlas.skips}
        found: dict[tuple[int, int, Flow], list[Value]] = {}
        buses: list[Bus] = []
        for value in tree.values:
            readers: dict[int, Flow] = {}
            for leaf in tree.consumers.get(value.id, ()):
                if leaf in self.owner:
                    flow: Flow = "skip" if (value.id, leaf) in crossing else _plain(value)
                    readers.setdefault(self.owner[leaf], flow)
            if not readers or value.flow == "shape":
                continue
            source = self.source(value)
            readers.pop(source, None)
            if value.flow in ("time", "text"):
                on_bus = self.on_bus(source, readers)
                if on_bus:
                    buses.append(Bus(value.flow, value.name, value.shape))
                    self.connect(value.flow, source, on_bus)
                    readers = {k: v for k, v in readers.items() if k not in on_bus}
            for target, flow in readers.items():
                found.setdefault((source, target, flow), []).append(value)
        for value in self.results():
            target = self.port(value, "output")
            found.setdefault((self.source(value), target, _plain(value)), []).append(value)
        made = [
            Arrow(source, target, flow, tuple(value.shape for value in values))
            for (source, target, flow), values in found.items()
        ]
        return made, buses

    def on_bus(self, source: int, readers: Iterable[int]) -> list[int]:
        """Readers that get a chip: every block of a U, elsewhere all once they are many."""
        if self.root is None and self.sides >= {"down", "up"}:
            inside = [reader for reader in readers if self.side(reader)]
            return inside if not self.side(source) else []
        many = list(readers)
        return many if len(many) >= BUS else []

    def side(self, box: int) -> str:
        nodes = self.atlas.tree.nodes
        return next((nodes[n].side for n in self.boxes[box].nodes if nodes[n].side), "")

    @cached_property
    def sides(self) -> set[str]:
        """Of the boxes: what there is of a U."""
        return {self.side(box.id) for box in self.boxes}

    def connect(self, flow: Flow, source: int, readers: Iterable[int]) -> None:
        """Marks a bus on the box it leaves and on those it enters."""
        box = self.boxes[source]
        self.boxes[source] = replace(box, feeds=_with(box.feeds, flow))
        for target in readers:
            box = self.boxes[target]
            self.boxes[target] = replace(box, takes=_with(box.takes, flow))

    def source(self, value: Value) -> int:
        if value.producer is not None and value.producer in self.owner:
            return self.owner[value.producer]
        return self.port(value, "input")

    def results(self) -> list[Value]:
        tree = self.atlas.tree
        outputs = tree.outputs if self.root is None else self.root.outputs
        values = [tree.values[value] for value in outputs]
        return [v for v in values if v.producer is not None and v.producer in self.owner]

    def port(self, value: Value, kind: str) -> int:
        """The box of a value that comes from outside, or leaves."""
        key = value.id if kind == "input" else -1 - value.id
        if key not in self.ports:
            box = Box(
                self.ports.setdefault(key, len(self.boxes)),
                "input" if kind == "input" else "output",
                self.port_name(value, kind),
                shape_text(value.shape),
                {"time": "time_embedding", "text": "text"}.get(value.flow, ""),
            )
            self.boxes.append(box)
        return self.ports[key]

    def port_name(self, value: Value, kind: str) -> str:
        """Inside a module its own name for it, else the name in the graph."""
        if self.root is not None and kind == "input" and value.id in self.root.inputs:
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


_SIDES: dict[str, Column] = {"down": "left", "mid": "mid", "up": "right"}


def _columns(atlas: Atlas, boxes: Sequence[Box], arrows: Sequence[Arrow]) -> list[Box]:
    """Places boxes in the U by their side; what follows the way up belongs to it."""
    tree = atlas.tree
    column: dict[int, Column] = {}
    for box in boxes:
        side = next((tree.nodes[n].side for n in box.nodes if tree.nodes[n].side), "")
        if side in _SIDES:
            column[box.id] = _SIDES[side]
    if not {"left", "right"} <= set(column.values()):
        return list(boxes)
    follows: dict[int, list[int]] = {}
    for arrow in arrows:
        follows.setdefault(arrow.source, []).append(arrow.target)
    front = [identifier for identifier, place in column.items() if place == "right"]
    while front:
        for target in follows.get(front.pop(), ()):
            if target not in column:
                column[target] = "right"
                front.append(target)
    return [replace(b, column=column.get(b.id) or _unplaced(atlas, b)) for b in boxes]


def _unplaced(atlas: Atlas, box: Box) -> Column:
    """Before the way down: conditioning stands above the U, the image at its left."""
    tree = atlas.tree
    if box.kind == "input":
        return "top" if box.role else "left"
    members = [leaf for n in box.nodes for leaf in tree.inside(tree.nodes[n])]
    flows = {tree.values[v].flow for leaf in members for v in leaf.outputs}
    return "top" if flows <= {"time", "text", "shape"} else "left"
