"""Names that no neighbour has, and module paths as deep links see them."""

from __future__ import annotations

import re
from collections.abc import Iterable

_SEGMENT = re.compile(r"[^.]+(?:\.\d+)*")
_UNSAFE = re.compile(r"[/?#&%\s]")
_DEEPEST = 32
"""Segments of a module path; what a hostile file writes beyond them stays in the last one."""


class Names:
    """Gives each name once: ``Add``, ``Add_1``, ``Add_2``, in linear time.

    Args:
        taken: Names that are not to be given.
        mark: What stands between a name and its number.
        second: Number of the second one.
    """

    def __init__(self, taken: Iterable[str] = (), mark: str = "_", second: int = 1) -> None:
        self.taken, self.mark, self.second = set(taken), mark, second
        self.counts: dict[str, int] = {}

    def fresh(self, wished: str) -> str:
        """The name wished for, or with the lowest number that is free."""
        name, count = wished, self.counts.get(wished, self.second)
        while name in self.taken:
            name, count = f"{wished}{self.mark}{count}", count + 1
        self.counts[wished] = count
        self.taken.add(name)
        return name


class Links(Names):
    """Deep links of siblings below ``prefix``: ``Add``, ``Add~2``."""

    def __init__(self, prefix: str) -> None:
        super().__init__(mark="~", second=2)
        self.prefix = prefix

    def link(self, segment: str) -> str:
        """The path of one sibling, safe in an address."""
        return self.prefix + self.fresh(_UNSAFE.sub("_", segment) or "node")


def split_module(module: str) -> list[str]:
    """``down_blocks.0.resnets.1.conv1`` as ``down_blocks.0``, ``resnets.1``, ``conv1``."""
    parts = _SEGMENT.findall(module)
    return (
        [*parts[: _DEEPEST - 1], ".".join(parts[_DEEPEST - 1 :])]
        if parts[_DEEPEST:]
        else parts
    )


def relative(module: str, around: str) -> str:
    """A module path as seen from the module of an enclosing call."""
    if not around:
        return module
    return "" if module == around else module.removeprefix(around + ".")
