"""A pass over a ``Tree`` without calls: nested groups by module path."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from viewer.model.names import Links, split_module
from viewer.model.tree import Node, Tree

_TOKENS = {
    *("transformer", "feed_forward", "self_attention", "cross_attention"),
    "joint_attention",
}
Key = tuple[str, ...]


def grouped(tree: Tree) -> Tree:
    """Puts the operators of a flat graph into groups, as the modules they are of nest.

    Groups stand in the order of their first operator; a module of one operator gets none.

    Args:
        tree: The tree of a graph; returned as it is when it has calls.

    Returns:
        The same operators and values, renumbered so that a group comes before its members.
    """
    if any(node.kind == "call" for node in tree.nodes):
        return tree
    keys = [tuple(split_module(node.module)) for node in tree.nodes]
    counts = Counter(key[:depth] for key in keys for depth in range(1, len(key) + 1))
    groups = _Groups()
    moved = [
        groups.add(node, key[: sum(counts[key[: at + 1]] > 1 for at in range(len(key)))], key)
        for node, key in zip(tree.nodes, keys, strict=True)
    ]
    values = tuple(
        value if value.producer is None else replace(value, producer=moved[value.producer])
        for value in tree.values
    )
    nodes = _summed_up(groups)
    return replace(tree, nodes=nodes, values=values, top=tuple(groups.members[None]))


class _Groups:
    """Nodes in their new order, and which of them each group holds."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.opened: dict[Key, int | None] = {(): None}
        self.members: dict[int | None, list[int]] = {None: []}
        self.links: dict[int | None, Links] = {None: Links("")}

    def add(self, node: Node, owner: Key, key: Key) -> int:
        """Puts an operator of the module ``key`` into the group ``owner``; its new id."""
        parent = self.open(owner)
        path = self.links[parent].link(".".join(key[len(owner) :]) or node.op)
        return self.put(replace(node, id=len(self.nodes), parent=parent, path=path))

    def open(self, key: Key) -> int | None:
        if key not in self.opened:
            parent = self.open(key[:-1])
            module, path = ".".join(key), self.links[parent].link(key[-1])
            self.opened[key] = group = self.put(
                Node(
                    id=len(self.nodes), parent=parent, kind="group", path=path, name=module,
                    op=key[-1], domain="", metadata={}, module=module, side="", level=None,
                    inputs=(), outputs=(),
                )
            )  # fmt: skip
            self.members[group], self.links[group] = [], Links(f"{path}/")
        return self.opened[key]

    def put(self, node: Node) -> int:
        self.nodes.append(node)
        self.members[node.parent].append(node.id)
        return node.id


def _summed_up(groups: _Groups) -> tuple[Node, ...]:
    """Completes every group from its members, the innermost first."""
    nodes = groups.nodes
    readers: dict[int, list[int]] = {}
    for node in nodes:
        for value in node.inputs:
            readers.setdefault(value, []).append(node.id)
    leaves: dict[int, set[int]] = {}
    for group in reversed([node for node in nodes if node.kind == "group"]):
        members = [nodes[member] for member in groups.members[group.id]]
        inside = leaves[group.id] = set()
        for member in members:
            inside |= leaves[member.id] if member.kind == "group" else {member.id}
        read = dict.fromkeys(v for m in members for v in m.inputs if v >= 0)
        made = dict.fromkeys(v for m in members for v in m.outputs)
        nodes[group.id] = replace(
            group,
            metadata=_shared_metadata(members),
            inputs=tuple(v for v in read if v not in made),
            outputs=tuple(v for v in made if not inside.issuperset(readers.get(v, [-1]))),
            children=tuple(groups.members[group.id]),
            side=next((m.side for m in members if m.side), ""),
            level=next((m.level for m in members if m.level is not None), None),
        )
    return tuple(nodes)


def _shared_metadata(members: Sequence[Node]) -> dict[str, str]:
    """What all members agree on, and the role that a call in their place would have."""
    shared = {
        key: value
        for key, value in members[0].metadata.items()
        if key not in ("atlas.module", "atlas.role")
        and all(member.metadata.get(key) == value for member in members)
    }
    roles = {member.role for member in members} - {"", "shape"}
    if len(roles) > 1:  # the time enters a resnet; that does not make it something else
        roles -= {"time_embedding", "time_injection"}
    if len(roles) == 1:
        shared["atlas.role"] = roles.pop()
    elif roles:
        shared["atlas.role"] = "transformer" if roles <= _TOKENS else "block"
    return shared
