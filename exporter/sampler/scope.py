"""Where nodes are recorded: a graph, a function's body, a branch; nested as subgraphs are."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import onnx_ir as ir

from exporter import metadata as meta


class Names:
    """Names of one function or graph and of all subgraphs in it: ONNX forbids shadowing."""

    def __init__(self) -> None:
        self.taken: set[str] = set()

    def free(self, wanted: str) -> str:
        """``wanted``, or with the first number that makes it new; taken from now on."""
        name, count = wanted, 0
        while name in self.taken:
            count += 1
            name = f"{wanted}_{count}"
        self.taken.add(name)
        return name


@dataclass
class Scope:
    """Where nodes are recorded: a graph, a function's body, a branch.

    Attributes:
        names: Shared with the scopes around.
        opset: Of the default domain.
        library: Functions defined so far, by identifier; shared with all scopes.
        source: What the nodes to come say about where they are from.
        role: Likewise; a value of ``atlas.role``.
        nodes: Recorded so far.
        constants: Recorded so far, by value.
        given: Values that are outputs already.
    """

    names: Names
    opset: int
    library: dict[ir.OperatorIdentifier, ir.Function]
    source: str = ""
    role: str = ""
    nodes: list[ir.Node] = field(default_factory=list)
    constants: dict[tuple[Any, ...], Any] = field(default_factory=dict)
    given: set[ir.Value] = field(default_factory=set)

    def metadata(self) -> dict[str, str]:
        """What a node recorded now knows about itself."""
        found = {meta.SOURCE: self.source, meta.ROLE: self.role}
        return {key: text for key, text in found.items() if text}

    def graph(
        self, inputs: Sequence[ir.Value], outputs: Sequence[ir.Value], name: str
    ) -> ir.Graph:
        """What was recorded, as a graph."""
        return ir.Graph(
            inputs,
            outputs,
            nodes=self.nodes,
            name=name,
            opset_imports={"": self.opset, **{n.domain: 1 for n in self.nodes if n.domain}},
        )


_SCOPE: ContextVar[Scope] = ContextVar("scope")


def current() -> Scope:
    """The innermost open scope."""
    return _SCOPE.get()


@contextlib.contextmanager
def scope(opset: int) -> Iterator[Scope]:
    """A graph of its own."""
    with entered(Scope(Names(), opset, {})) as opened:
        yield opened


@contextlib.contextmanager
def entered(inner: Scope) -> Iterator[Scope]:
    """Opens a scope that was made by hand."""
    token = _SCOPE.set(inner)
    try:
        yield inner
    finally:
        _SCOPE.reset(token)


@contextlib.contextmanager
def nested() -> Iterator[Scope]:
    """A subgraph of the open scope: it shares names, and sees the values around it."""
    outer = current()
    with entered(
        Scope(outer.names, outer.opset, outer.library, outer.source, outer.role)
    ) as inner:
        yield inner


@contextlib.contextmanager
def about(source: str = "", role: str = "") -> Iterator[None]:
    """What nodes recorded inside say about themselves: ``atlas.source``, ``atlas.role``."""
    opened = current()
    before = opened.source, opened.role
    opened.source, opened.role = source or before[0], role or before[1]
    try:
        yield
    finally:
        opened.source, opened.role = before
