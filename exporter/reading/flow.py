"""Data flow of a flat graph: who depends on which graph input, and at which resolution."""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir as ir

from exporter.values import dims

_HALVE = {"Conv", "AveragePool", "MaxPool"}
_DOUBLE = {"Resize", "ConvTranspose"}


class Flow:
    """What can be read off a graph's edges alone.

    Sizes are not data: what passes through a ``Shape`` node is not followed.

    Args:
        graph: A flat graph in topological order.
        inputs: Names of the inputs that carry data; every other one is a parameter.
    """

    def __init__(self, graph: ir.Graph, inputs: Iterable[str]) -> None:
        self.graph = graph
        self.nodes = list(graph)
        self.order = {node: index for index, node in enumerate(self.nodes)}
        names = set(inputs)
        self._sources: dict[ir.Value, frozenset[str]] = {
            v: frozenset([v.name]) for v in graph.inputs if v.name in names
        }
        self._levels: dict[ir.Value, int] = {v: 0 for v in graph.inputs if v.name == "sample"}
        for node in self.nodes:
            self._visit(node)

    def sources(self, value: ir.Value | None) -> frozenset[str]:
        """Graph inputs that ``value`` is computed from; empty for parameters and sizes."""
        return self._sources.get(value, frozenset()) if value is not None else frozenset()

    def node_sources(self, node: ir.Node) -> frozenset[str]:
        """Graph inputs that a node's result is computed from."""
        return self.sources(node.outputs[0])

    def level(self, node: ir.Node) -> int | None:
        """Resolution at which the node's result lives: 0 full, 1 half; None: no image."""
        return self._levels.get(node.outputs[0])

    def is_image(self, value: ir.Value | None) -> bool:
        """Whether ``value`` depends on ``sample``."""
        return "sample" in self.sources(value)

    def users(self, node: ir.Node) -> list[ir.Node]:
        """Nodes that read any output, each once, in graph order."""
        found = {usage.node for value in node.outputs for usage in value.uses()}
        return sorted(found, key=self.order.__getitem__)

    def ancestors(self, value: ir.Value) -> set[ir.Node]:
        """Every node that ``value`` is computed by, sizes not followed."""
        return self._closure(value, forward=False)

    def descendants(self, value: ir.Value) -> set[ir.Node]:
        """Every node computed from ``value``, sizes not followed."""
        return self._closure(value, forward=True)

    def _closure(self, value: ir.Value, *, forward: bool) -> set[ir.Node]:
        seen: set[ir.Node] = set()
        stack = [value]
        while stack:
            current = stack.pop()
            if forward:
                near = [usage.node for usage in current.uses()]
            else:
                producer = current.producer()
                near = [producer] if producer is not None else []
            for node in near:
                if node in seen or node.op_type == "Shape":
                    continue
                seen.add(node)
                stack += [v for v in (node.outputs if forward else node.inputs) if v]
        return seen

    def _visit(self, node: ir.Node) -> None:
        if node.op_type == "Shape":
            return
        inputs = [value for value in node.inputs if value is not None]
        sources = frozenset().union(*(self.sources(value) for value in inputs))
        levels = [self._levels[value] for value in inputs if value in self._levels]
        for output in node.outputs:
            if sources:
                self._sources[output] = sources
            if levels:
                self._levels[output] = max(levels) + resolution_step(node)


def resolution_step(node: ir.Node) -> int:
    """+1 where a node halves height and width, -1 where it doubles them, else 0."""
    if node.op_type in _HALVE and "strides" in node.attributes:
        return 1 if max(node.attributes["strides"].as_ints()) == 2 else 0
    if node.op_type in _DOUBLE:
        before, after = dims(node.inputs[0]), dims(node.outputs[0])
        return 0 if before == after and None not in (before, after) else -1
    return 0
