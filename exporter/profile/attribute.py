"""Kernels of the optimised graph -> the nodes of the file that they compute."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import onnx_ir as ir

from exporter.profile.run import Kernel
from exporter.runtime.inlined import Inlined
from exporter.runtime.providers import HEAVY

_BLOCKED = "_nchwc"  # ONNX Runtime's suffix for a value in its blocked layout


def attribute(inlined: Inlined, kernels: Sequence[Kernel]) -> tuple[tuple[ir.Node, ...], ...]:
    """The nodes that each kernel replaces, found by the values that it reads and makes.

    A kernel that makes a value of the file computes everything between that value and the
    nearest values that other kernels make: one node, or all that were fused. A kernel that
    makes none, a part of a decomposed GroupNormalization or a change of layout, works for the
    kernel that reads it.

    Args:
        inlined: The file; its value names are those that ONNX Runtime was given.
        kernels: As measured.

    Returns:
        For each kernel its nodes in the file's order; none where nothing tells.
    """
    producers = {
        value.name: node for node in inlined.nodes for value in node.outputs if value.name
    }
    named = {node.name: node for node in inlined.nodes if node.name}
    made = [list(_made(kernel, producers, named)) for kernel in kernels]
    boundary = {name for names in made for name in names}
    found = [
        tuple(sorted(_behind(names, producers, boundary), key=lambda n: inlined.order[n]))
        for names in made
    ]
    readers: dict[str, int] = {}
    for index, kernel in enumerate(kernels):
        for name in kernel.inputs:
            readers.setdefault(name, index)
    for index in reversed(range(len(kernels))):  # readers come later in the graph
        if not found[index]:
            after = [readers[name] for name in kernels[index].outputs if name in readers]
            found[index] = next((found[i] for i in after if found[i]), ())
    return tuple(found)


def shares(nodes: Sequence[ir.Node], microseconds: float) -> Iterator[tuple[ir.Node, float]]:
    """A kernel's time among the nodes it replaces: all to its heavy ones, if it has some."""
    bearing = [node for node in nodes if node.op_type in HEAVY] or list(nodes)
    for node in bearing:
        yield node, microseconds / len(bearing)


def _made(
    kernel: Kernel, producers: Mapping[str, ir.Node], named: Mapping[str, ir.Node]
) -> Iterator[str]:
    known = [name for name in kernel.outputs if name in producers]
    if known:
        yield from known
        return
    name = kernel.name.removesuffix(_BLOCKED)
    if kernel.name.endswith(_BLOCKED) and name in producers:
        yield name
    elif kernel.name in named:
        yield from (value.name for value in named[kernel.name].outputs if value.name)


def _behind(
    names: Sequence[str], producers: Mapping[str, ir.Node], boundary: set[str]
) -> set[ir.Node]:
    found: set[ir.Node] = set()
    stack = [producers[name] for name in names]
    while stack:
        node = stack.pop()
        if node in found:
            continue
        found.add(node)
        for value in node.inputs:
            name = (value.name if value is not None else None) or ""
            if name in producers and name not in boundary:
                stack.append(producers[name])
    return found
