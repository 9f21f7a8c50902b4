"""What a UNet is made of, read off a ``Tree``: blocks, skips, injections, attentions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from viewer.model.attention import ATTENTION_ROLES, attends
from viewer.model.sizes import Shape
from viewer.model.tree import Node, Tree
from viewer.numbers import count


@dataclass(frozen=True)
class Part:
    """One piece of a block, in order: a resnet, an attention, a change of resolution.

    Attributes:
        node: The call or group.
        role: What colours it.
        attentions: Attentions inside, by role, e.g. ``("self_attention", "cross_attention")``.
        injects: Whether the time enters here.
        skips_out: Skips that leave here.
        skips_in: Skips that arrive here.
    """

    node: int
    role: str
    attentions: tuple[str, ...] = ()
    injects: bool = False
    skips_out: tuple[str, ...] = ()
    skips_in: tuple[str, ...] = ()


@dataclass(frozen=True)
class Block:
    """A box of the map.

    Attributes:
        kind: ``conv_in``, ``down``, ``mid``, ``up``, ``conv_out``, ``time``, ``text``,
            ``image_prompt``, ``control_image``, or ``zero`` (``viewer.model.nets``).
        nodes: The calls or operators it stands for; the first one is opened by a click.
        level: 0 at full latent resolution.
        shape: Of the image that it hands on.
        parts: Its pieces, in order.
        params: Number of parameters.
        flops: Floating-point operations at the nominal size.
    """

    kind: str
    nodes: tuple[int, ...]
    level: int | None
    shape: Shape | None
    parts: tuple[Part, ...]
    params: int
    flops: int


@dataclass(frozen=True)
class Skip:
    """A connection across the U: what leaves ``source`` is concatenated at ``sink``."""

    id: str
    source: int
    sink: int
    value: int | None
    shape: Shape | None


@dataclass(frozen=True)
class Injection:
    """Where the time vector meets the image, in one resnet.

    Attributes:
        resnet: Module path of that resnet.
        nodes: The Add, or the Mul and Add of a scale and shift.
        time: Shape of the vector.
        image: Shape of the image.
    """

    resnet: str
    nodes: tuple[int, ...]
    time: Shape | None
    image: Shape | None


def topmost(tree: Tree, role: str, roots: Iterable[int] | None = None) -> list[Node]:
    """Nodes of a role whose caller does not have it too, in graph order."""
    found: list[Node] = []
    for identifier in tree.top if roots is None else roots:
        node = tree.nodes[identifier]
        if node.role == role:
            found.append(node)
        else:
            found += topmost(tree, role, node.children)
    return found


def skips(tree: Tree) -> tuple[Skip, ...]:
    """Pairs of skip ends, by id; the innermost nodes that carry the id."""
    sources: dict[str, Node] = {}
    sinks: dict[str, Node] = {}
    for node in tree.nodes:
        for end, found in (("source", sources), ("sink", sinks)):
            for identifier in _skip_ids(node, end):
                found[identifier] = node  # children come later, so the innermost stays
    pairs = []
    for identifier in sorted(sources.keys() & sinks.keys(), key=_numeric):
        source, sink = sources[identifier], sinks[identifier]
        shared = [value for value in sink.inputs if value in source.outputs]
        value = shared[0] if shared else None
        shape = tree.values[value].shape if value is not None else None
        pairs.append(Skip(identifier, source.id, sink.id, value, shape))
    return tuple(pairs)


def _numeric(text: str) -> tuple[int, str]:
    number = count(text)
    return (1 << 60, text) if number is None else (number, "")


def _skip_ids(node: Node, end: str) -> list[str]:
    ends = node.metadata.get("atlas.skip_end", "").split(",")
    if end not in ends:
        return []
    own = node.metadata.get(f"atlas.skip.{end}") if len(ends) > 1 else None
    text = own or node.metadata.get("atlas.skip", "")
    return [part.strip() for part in text.split(",") if part.strip()]


def injections(tree: Tree) -> tuple[Injection, ...]:
    """Every place where the time enters the image, grouped by resnet."""
    groups: dict[str, list[Node]] = {}
    for node in tree.leaves:
        if node.role == "time_injection":
            groups.setdefault(node.metadata.get("atlas.resnet", node.path), []).append(node)
    found = []
    for resnet, nodes in groups.items():
        operands = [tree.values[v] for node in nodes for v in node.inputs if v >= 0]
        time = next((v.shape for v in operands if v.flow == "time"), None)
        image = next((v.shape for v in operands if v.flow == "image"), None)
        found.append(Injection(resnet, tuple(n.id for n in nodes), time, image))
    return tuple(found)


def blocks(tree: Tree, found_skips: Sequence[Skip]) -> tuple[Block, ...]:
    """The boxes of the map in the order in which data passes them."""
    sides = list(_sided(tree, tree.top))
    inside = {member.id for node in sides for member in tree.inside(node)}
    found = []
    for role in ("time_embedding", "text", "image_prompt", "control_image", "conv_in"):
        found += _free(tree, "time" if role == "time_embedding" else role, role, inside)
    for node, following in zip_longest(sides, sides[1:]):
        parts = tuple(_part(tree, child, found_skips) for child in _pieces(tree, node))
        shape = _handed_on(tree, node, following)
        found.append(
            Block(
                node.side, (node.id,), node.level, shape, parts, node.params, node.flops or 0
            )
        )
    return (*found, *_free(tree, "conv_out", "conv_out", inside))


_BODY = frozenset(("resnet", "time_injection", "downsample", "upsample", *ATTENTION_ROLES))


def _sided(tree: Tree, ids: Iterable[int]) -> Iterable[Node]:
    for identifier in ids:
        node = tree.nodes[identifier]
        if node.side and node.children:
            roles = {member.role for member in tree.inside(node)} - {""}
            if not roles or roles & _BODY:
                yield node
        elif node.children:
            yield from _sided(tree, node.children)


def _free(tree: Tree, kind: str, role: str, inside: set[int]) -> list[Block]:
    nodes = [node for node in topmost(tree, role) if node.id not in inside]
    if not nodes:
        return []
    last = nodes[-1]
    shape = tree.values[last.outputs[0]].shape if last.outputs else None
    params, flops = sum(n.params for n in nodes), sum(n.flops or 0 for n in nodes)
    level = 0 if kind.startswith("conv") else None
    return [Block(kind, tuple(n.id for n in nodes), level, shape, (), params, flops)]


def _pieces(tree: Tree, block: Node) -> list[Node]:
    """Calls inside a block; itself where it is one resnet or attention, no list of them."""
    children = [tree.nodes[child] for child in block.children]
    if any(child.role == "time_injection" or attends(child) for child in children):
        return [block]
    return [child for child in children if child.children]


def _part(tree: Tree, node: Node, found_skips: Sequence[Skip]) -> Part:
    members = tree.inside(node)
    ids = {member.id for member in members}
    kinds = tuple(
        m.role
        for m in members
        if m.role in ATTENTION_ROLES and attends(m)
    )  # fmt: skip
    injects = any(m.role == "time_injection" for m in members)
    role = node.role
    if kinds:
        role = next(
            (r for r in ATTENTION_ROLES if r in kinds and r != "self_attention"), kinds[0]
        )
    elif injects:
        role = "resnet"
    leaving = tuple(s.id for s in found_skips if s.source in ids)
    # The Concat stands just before the piece that takes its result.
    feeding = {v for v in node.inputs if v >= 0}
    arriving = tuple(
        s.id for s in found_skips if s.sink in ids or feeding & set(tree.nodes[s.sink].outputs)
    )
    return Part(node.id, role, kinds, injects, leaving, arriving)


def _handed_on(tree: Tree, block: Node, following: Node | None) -> Shape | None:
    """Of the image that the next block takes; of the last one's first image."""
    images = [
        value
        for value in block.outputs
        if (shape := tree.values[value].shape) is not None and len(shape) == 4
    ]
    taken = set(following.inputs) if following is not None else set()
    chosen = [value for value in images if value in taken] or images
    return tree.values[chosen[0]].shape if chosen else None
