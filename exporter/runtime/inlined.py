"""A written file as one flat graph whose inner values can be asked for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir
from onnx_ir.passes.common import (
    InlinePass,
    LiftConstantsToInitializersPass,
    RemoveUnusedNodesPass,
    ShapeInferencePass,
)

from exporter import metadata as meta
from exporter.paths import is_inside
from exporter.runtime.loading import load_graph, understood
from exporter.runtime.origins import Origin, origin_of

_FLOATS = frozenset({ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16})


@dataclass(frozen=True)
class Inlined:
    """The nodes of a file, functions inlined, in topological order.

    Attributes:
        model: The flat model; weights stay in their files.
        folder: Where external weights lie.
        nodes: Its nodes in topological order.
        origins: Where each node comes from; nodes that do not tell are absent.
        order: Position of each node.
        constant: Nodes that depend on no graph input: they only transpose or cast a parameter.
    """

    model: ir.Model
    folder: Path
    nodes: tuple[ir.Node, ...]
    origins: dict[ir.Node, Origin]
    order: dict[ir.Node, int]
    constant: frozenset[ir.Node]

    def module(self, node: ir.Node) -> str:
        """The module path of a node; the UNet itself where unknown."""
        origin = self.origins.get(node)
        return origin.module if origin else ""

    def exits(self, modules: Collection[str]) -> dict[str, list[ir.Value]]:
        """What each module hands on: values made inside it and used outside.

        Args:
            modules: Module paths; each means the module with all its submodules.
        """
        found: dict[str, list[ir.Value]] = {}
        for node in self.nodes:
            if node not in self.origins or node in self.constant:
                continue
            around = [path for path in modules if is_inside(self.module(node), path)]
            for value in node.outputs:
                if not is_data(value):
                    continue
                for path in around:
                    if value.is_graph_output() or any(
                        not is_inside(self.module(user), path) for user in value.consumers()
                    ):
                        found.setdefault(path, []).append(value)
        return found

    def parameters(self, node: ir.Node) -> Iterator[ir.Value]:
        """Constant operands of a node."""
        for value in node.inputs:
            if value is not None and value.const_value is not None and is_float(value):
                yield value

    def instrumented(self, values: Iterable[ir.Value]) -> bytes:
        """A serialised copy whose outputs are these values, and nothing that they do not need.

        External weights are referred to, not copied; open it with ``weights_folder=folder``.
        """
        names = {value.name for value in values}
        model = self.model.clone()
        found = [v for node in model.graph for v in node.outputs if v.name in names]
        model.graph.outputs.clear()
        model.graph.outputs.extend(found)
        RemoveUnusedNodesPass()(model)
        return bytes(ir.to_proto(model).SerializeToString())


def load_inlined(path: Path, modules: Collection[str]) -> Inlined:
    """Read a file and inline its functions; metadata of the nodes survives.

    Args:
        path: The ``.onnx``; its weights are not read if they are external.
        modules: Every module path of the UNet, to understand node names by.

    Raises:
        UsageError: It cannot be read, or holds a malformed graph.
    """
    with understood(path):
        return _inlined(path, modules)


def _inlined(path: Path, modules: Collection[str]) -> Inlined:
    model = InlinePass()(load_graph(path)).model
    model = LiftConstantsToInitializersPass()(model).model
    ir.external_data.set_base_dir(model.graph, path.parent)  # functions had none
    model.graph.sort()
    if any(value.dtype is None for node in model.graph for value in node.outputs):
        model = ShapeInferencePass()(model).model  # not a file of ours
    _unique_names(model.graph)
    nodes = tuple(model.graph)
    origins = _origins(nodes, modules)
    order = {node: index for index, node in enumerate(nodes)}
    return Inlined(model, path.parent, nodes, origins, order, _constant(model.graph))


def _origins(nodes: Sequence[ir.Node], modules: Collection[str]) -> dict[ir.Node, Origin]:
    """Where nodes come from, in topological order.

    In a file of ours every node tells. One that does not, between the last that does and the
    graph's output, was put in since. It belongs to the module whose output it changes, which
    would be taken before it otherwise.
    """
    found = {
        node: origin for node in nodes if (origin := origin_of(node, modules)) is not None
    }
    last = set[ir.Node]()
    for node in reversed(nodes):
        users = {user for value in node.outputs for user in value.consumers()}
        if node not in found and users <= last:
            last.add(node)
    for node in nodes:
        makers = (value.producer() for value in node.inputs if value is not None)
        ours = (m for m in makers if m in found and meta.MODULE in m.metadata_props)
        maker = next(ours, None) if node in last else None
        if maker is not None:
            node.metadata_props[meta.MODULE] = maker.metadata_props[meta.MODULE]
            found[node] = found[maker]
    return found


def is_float(value: ir.Value) -> bool:
    """Whether a value holds floating point numbers; unknown types count as such."""
    return value.dtype is None or value.dtype in _FLOATS


def is_data(value: ir.Value) -> bool:
    """Whether a value is an activation, as opposed to a size or an index."""
    return is_float(value) and (value.shape is None or len(value.shape) > 0)


def _constant(graph: ir.Graph) -> frozenset[ir.Node]:
    alive: set[ir.Value | None] = set(graph.inputs)
    found = set()
    for node in graph:
        if alive.isdisjoint(node.inputs) and node.inputs:
            found.add(node)
        else:
            alive.update(node.outputs)
    return frozenset(found)


def _unique_names(graph: ir.Graph) -> None:
    for index, node in enumerate(graph):
        node.name = node.name or f"node_{index}"
        for slot, value in enumerate(node.outputs):
            value.name = value.name or f"value_{index}_{slot}"
