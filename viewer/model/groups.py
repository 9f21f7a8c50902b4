"""Nested groups by module path, for files without local functions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Protocol

from viewer.model.tree import Node

_SEGMENT = re.compile(r"[^.]+(?:\.\d+)*")
_TOKENS = {
    *("transformer", "feed_forward", "self_attention", "cross_attention"),
    "joint_attention",
}


class Store(Protocol):
    """Where nodes are made; ``viewer.model.expand`` has one."""

    nodes: list[Node | None]

    def reserve(self) -> int:
        """The id of a node that will be put into ``nodes``."""


def split_module(module: str) -> list[str]:
    """``down_blocks.0.resnets.1.conv1`` as ``down_blocks.0``, ``resnets.1``, ``conv1``."""
    return _SEGMENT.findall(module)


def relative(module: str, around: str) -> str:
    """A module path as seen from the module of an enclosing call."""
    if not around:
        return module
    if module == around:
        return ""
    return module.removeprefix(around + ".")


def unique(used: set[str], prefix: str, segment: str) -> str:
    """A deep link that no sibling has: ``Add``, ``Add~2``."""
    segment = re.sub(r"[/?#&%\s]", "_", segment) or "node"
    name, count = segment, 1
    while name in used:
        count += 1
        name = f"{segment}~{count}"
    used.add(name)
    return prefix + name


class Groups:
    """Groups opened in the order of their first node; a module of one node gets none.

    Args:
        store: Where nodes are made.
        parent: Enclosing node; None at the top.
        prefix: Deep link of the enclosing node with a slash, or empty.
        modules: Module paths of all nodes to come.
    """

    def __init__(
        self, store: Store, parent: int | None, prefix: str, modules: Iterable[str]
    ) -> None:
        self.store, self.prefix, self.parent = store, prefix, parent
        self.ids: dict[tuple[str, ...], int | None] = {(): parent}
        self.children: dict[int | None, list[int]] = {parent: []}
        self.names: dict[int | None, set[str]] = {parent: set()}
        self.counts: Counter[tuple[str, ...]] = Counter()
        for module in modules:
            parts = split_module(module)
            self.counts.update(tuple(parts[:depth]) for depth in range(1, len(parts) + 1))

    def place(self, module: str, op: str) -> tuple[int | None, str]:
        """The group that a node belongs to, opened if need be, and its deep link."""
        parts = split_module(module)
        depth = sum(1 for at in range(len(parts)) if self.counts[tuple(parts[: at + 1])] > 1)
        for at in range(depth):
            self._open(tuple(parts[: at + 1]))
        owner = self.ids[tuple(parts[:depth])]
        segment = ".".join(parts[depth:]) or op
        return owner, unique(self.names[owner], self._path(owner), segment)

    def _open(self, key: tuple[str, ...]) -> None:
        if key in self.ids:
            return
        owner = self.ids[key[:-1]]
        path = unique(self.names[owner], self._path(owner), key[-1])
        identifier, module = self.store.reserve(), ".".join(key)
        self.store.nodes[identifier] = Node(
            identifier, owner, "group", path, module, key[-1], "", {}, module, "", None, (), ()
        )
        self.ids[key] = identifier
        self.children[owner].append(identifier)
        self.children[identifier] = []
        self.names[identifier] = set()

    def _path(self, owner: int | None) -> str:
        node = self.store.nodes[owner] if owner is not None else None
        return f"{node.path}/" if node is not None else self.prefix

    def close(self) -> list[int]:
        """Completes every group from its members; returns the outermost nodes."""
        nodes = self.store.nodes
        readers: dict[int, list[int]] = {}
        for node in nodes:
            if node is not None and node.kind == "op":
                for value in node.inputs:
                    readers.setdefault(value, []).append(node.id)
        for identifier in sorted((i for i in self.children if i is not None), reverse=True):
            group = nodes[identifier]
            if group is not None and group.kind == "group":
                nodes[identifier] = self._summary(group, readers)
        return self.children[self.parent]

    def _summary(self, group: Node, readers: Mapping[int, list[int]]) -> Node:
        members = [node for i in self.children[group.id] if (node := self.store.nodes[i])]
        inside = set(self._leaves(group.id))
        read = dict.fromkeys(v for m in members for v in m.inputs if v >= 0)
        made = dict.fromkeys(v for m in members for v in m.outputs)
        used = [v for v in made if any(r not in inside for r in readers.get(v, [-1]))]
        return replace(
            group,
            metadata=_summary_metadata(members),
            inputs=tuple(v for v in read if v not in made),
            outputs=tuple(used),
            children=tuple(self.children[group.id]),
            side=next((m.side for m in members if m.side), ""),
            level=next((m.level for m in members if m.level is not None), None),
        )

    def _leaves(self, owner: int) -> Iterable[int]:
        for child in self.children[owner]:
            if child in self.children:
                yield from self._leaves(child)
            else:
                yield child


def _summary_metadata(members: list[Node]) -> dict[str, str]:
    """What all members agree on, and the role that a call in their place would have."""
    if not members:
        return {}
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
