"""From an ``Atlas`` to a ``Figure`` of it: which nodes are closed, and into what."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

from viewer.model.atlas import Atlas
from viewer.model.tree import Node
from viewer.outputs.figures.figure import Box, Figure, Frame, count_text
from viewer.outputs.figures.wiring import Closed, is_bookkeeping, wire
from viewer.outputs.modules import find_module
from viewer.outputs.roles import shown_role


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
    builder = _Builder(atlas, {None: root.module if root else ""})
    for item in _inside(atlas, root) if root else _top(atlas):
        builder.add(item, depth, None)
    closed = Closed(tuple(builder.boxes), builder.owner)
    boxes, arrows, buses = wire(atlas, root, closed)
    return Figure(
        title=(root.module or root.path) if root else atlas.name,
        note=_note(atlas, root),
        boxes=boxes,
        frames=tuple(builder.frames),
        arrows=arrows,
        buses=buses,
        hidden=builder.hidden,
    )


def _note(atlas: Atlas, root: Node | None) -> str:
    own = root.cls.rpartition(".")[2] if root else atlas.metadata.get("atlas.model.class", "")
    params = root.params if root else atlas.params
    counted = f"{count_text(params)} parameters" if params else ""
    return ", ".join(part for part in (own, counted, atlas.weights_note) if part)


@dataclass(frozen=True)
class _Item:
    """A node of the tree, or several that the map shows as one box."""

    title: str
    note: str
    role: str
    nodes: tuple[Node, ...]
    children: tuple[int, ...]


def _item(atlas: Atlas, node: Node) -> _Item:
    role = shown_role(atlas.tree, node)
    if node.kind == "op":
        return _Item(node.op, "", role, (node,), ())
    own = node.cls.rpartition(".")[2] or (node.op if node.kind == "call" else "")
    title = node.segment.replace("~", " ")
    return _Item(title, own if own != title else "", role, (node,), node.children)


def _inside(atlas: Atlas, root: Node) -> list[_Item]:
    return [_item(atlas, atlas.tree.nodes[child]) for child in root.children]


def _top(atlas: Atlas) -> list[_Item]:
    """The top level; nodes that the map shows as one box (time, text, output) are bundled."""
    nodes, top = atlas.tree.nodes, set(atlas.tree.top)
    bundles: dict[int, _Item] = {}
    for block in atlas.blocks:
        members = tuple(nodes[n] for n in block.nodes if n in top)
        if len(members) > 1:
            title = {"time": "time embedding"}.get(block.kind, block.kind)
            names = [n.segment for n in members if n.module and n.segment != title]
            names = list(dict.fromkeys(names))
            note = " · ".join(names[:2]) + (" …" if len(names) > 2 else "")
            ids = tuple(node.id for node in members)
            item = _Item(title, note, members[0].role, members, ids)
            bundles |= dict.fromkeys(ids, item)
    found: dict[int, _Item] = {}  # by first node: a bundle stands where its first node does
    for identifier in atlas.tree.top:
        item = bundles.get(identifier) or _item(atlas, nodes[identifier])
        found.setdefault(item.nodes[0].id, item)
    return list(found.values())


@dataclass
class _Builder:
    atlas: Atlas
    modules: dict[int | None, str]  # of each frame, and of the whole
    boxes: list[Box] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    owner: dict[int, int] = field(default_factory=dict)
    hidden: int = 0

    def add(self, item: _Item, depth: int, frame: int | None) -> None:
        """Closes an item into a box, or opens it into a frame."""
        tree = self.atlas.tree
        inside = [leaf for node in item.nodes for leaf in tree.inside(node)]
        drawn = [n for n in inside if n.kind == "op" and not is_bookkeeping(tree, n)]
        if len(drawn) == 1 and depth > 1:
            item = _item(self.atlas, drawn[0])  # a frame around one operator says nothing
        if not drawn:
            self.hidden += not item.children
        elif item.children and depth > (2 if self.is_beside(item) else 1):
            opened = Frame(len(self.frames), item.title, item.note, item.role, frame)
            self.frames.append(opened)
            self.modules[opened.id] = item.nodes[0].module if len(item.nodes) == 1 else ""
            for child in item.children:
                self.add(_item(self.atlas, tree.nodes[child]), depth - 1, opened.id)
        else:
            box = self.box(item, frame)
            self.boxes.append(box)
            self.owner.update((leaf.id, box.id) for leaf in drawn)

    def is_beside(self, item: _Item) -> bool:
        """Outside the U, which alone is opened at depth 2: time, text, output."""
        return item.nodes[0].parent is None and not item.nodes[0].side and self.has_sides

    @cached_property
    def has_sides(self) -> bool:
        return any(node.side for node in self.atlas.tree.nodes)

    def box(self, item: _Item, frame: int | None) -> Box:
        first = item.nodes[0]
        box = Box(
            len(self.boxes),
            "call" if item.children else "op",
            item.title,
            item.note if item.children else self.operator_note(first, frame),
            item.role,
            level=first.level,
            frame=frame,
            nodes=tuple(node.id for node in item.nodes),
            params=sum(node.params for node in item.nodes),
        )
        for block in self.atlas.blocks:
            if block.nodes == (first.id,) and block.parts:
                roles = tuple(part.role for part in block.parts)
                return replace(box, strip=roles, size=block.shape)
        return box

    def operator_note(self, leaf: Node, frame: int | None) -> str:
        """Where it stands and the weights it applies, also those behind a Transpose."""
        tree = self.atlas.tree
        weights = list(leaf.weights)
        for value in leaf.inputs:
            producer = tree.values[value].producer if value >= 0 else None
            if producer is not None and is_bookkeeping(tree, tree.nodes[producer]):
                weights += tree.nodes[producer].weights
        largest = max((w.shape for w in weights if w.parameter), key=len, default=())
        within = leaf.module.removeprefix(self.modules.get(frame, "")).lstrip(".")
        heads, size = (leaf.metadata.get(f"atlas.{key}", "") for key in ("heads", "head_dim"))
        split = f"{heads} heads of {size}" if heads and size else ""
        return " · ".join(p for p in (within, "×".join(map(str, largest)), split) if p)
