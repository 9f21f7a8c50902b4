"""Which operator of a region between right and wrong values is the first wrong one."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from exporter.parity.locate.departure import Departure
from exporter.parity.locate.finding import Finding, Operand
from exporter.parity.locate.match import DEPARTS, Match, Reference, comparable, distance
from exporter.parity.locate.parameters import wrong_parameters
from exporter.parity.subject import Subject
from exporter.runtime.inlined import Inlined, is_data
from exporter.runtime.origins import Origin
from exporter.runtime.session import Array

COUNTERPARTS: Mapping[str, tuple[str, ...]] = {
    "Attention": ("scaled_dot_product_attention",),
    "Concat": ("cat",),
    "Conv": ("conv2d",),
    "Gelu": ("gelu",),
    "Gemm": ("linear",),
    "GroupNormalization": ("group_norm",),
    "LayerNormalization": ("layer_norm",),
    "Resize": ("interpolate",),
    "Split": ("chunk",),
    "Swish": ("silu",),
}
"""Operators that are one torch call each."""


@dataclass(frozen=True)
class Region:
    """A part of the graph where right becomes wrong.

    Attributes:
        flat: The graph.
        nodes: The nodes in topological order; what goes in is right, what comes out is not.
        last: The wrong value that ends it.
        values: What ONNX Runtime computed.
        matches: The nearest PyTorch tensor to each value.
        right: Values that equal their match.
    """

    flat: Inlined
    nodes: tuple[ir.Node, ...]
    last: ir.Value
    values: Mapping[ir.Value, Array]
    matches: Mapping[ir.Value, Match]
    right: frozenset[ir.Value]

    @property
    def alive(self) -> list[ir.Node]:
        """The nodes that compute on data, not on parameters or sizes alone."""
        return [
            node
            for node in self.nodes
            if node not in self.flat.constant and any(is_data(value) for value in node.outputs)
        ]

    def upto(self, node: ir.Node) -> list[ir.Node]:
        """The nodes of the region that lead data to one of them, itself included."""
        found = {node}
        for candidate in reversed(self.alive):
            users = {user for value in candidate.outputs for user in value.consumers()}
            if users & found:
                found.add(candidate)
        return [candidate for candidate in self.nodes if candidate in found]

    def before(self, nodes: Sequence[ir.Node]) -> float:
        """The largest relative error among the right values that go into some nodes."""
        inputs = [
            v for node in nodes for v in node.inputs if v is not None and v in self.right
        ]
        return max(
            (self.matches[v].relative for v in inputs if v in self.matches), default=0.0
        )


def first_wrong(
    region: Region, references: Sequence[Reference], subject: Subject
) -> Departure:
    """Name the first wrong operator.

    The first non-finite value where there is one; else the first constant that is not
    the parameter it should be; else the first node that PyTorch has too; else what ends the
    region.

    Args:
        region: Where to look; every value of it has been asked for.
        references: What PyTorch computed there.
        subject: Whose parameters constants should be.
    """
    overflowed = _first_nonfinite(region)
    wrong = _first_wrong_parameter(region, subject)
    evidence: tuple[str, ...] = ()
    node = overflowed
    if node is None and wrong is not None:
        node, evidence = wrong
    if node is None:
        node = next(_with_counterpart(region, references), region.last.producer())
    assert node is not None  # a node made the wrong value
    value = next((v for v in node.outputs if v in region.matches), region.last)
    match, origin = region.matches[value], region.flat.origins.get(node)
    module, leading = region.flat.module(node), region.upto(node)
    finding = Finding(
        module=module,
        block=_block(module),
        role=origin.role if origin else "",
        source=_source(origin, match),
        operator=node.op_type,
        node=node.name or "",
        value=value.name or "",
        before=region.before(leading),
        after=match.relative,
        floors=match.floors,
        evidence=evidence,
        region=tuple(f"{n.op_type} {n.name}" for n in leading) if len(leading) > 1 else (),
        operands=_operands(node, region.values) if overflowed is not None else (),
    )
    known = overflowed is not None or wrong is not None
    begin = frozenset(v for v in node.inputs if v is not None) if known else region.right
    end, reference = _judgeable(node, region, references)
    return Departure(region.flat, begin, end, reference, finding)


def _judgeable(
    node: ir.Node, region: Region, references: Sequence[Reference]
) -> tuple[ir.Value, Reference]:
    """The first wrong value from a node on that PyTorch computes too, and what it is there."""
    after = {node}
    for candidate in region.alive:
        if any(v is not None and v.producer() in after for v in candidate.inputs):
            after.add(candidate)
    for candidate in _with_counterpart(region, references):
        if candidate not in after:
            continue
        for value in candidate.outputs:
            reference = _counterpart(candidate, value, region, references)
            if reference is not None:
                return value, reference
    return region.last, region.matches[region.last].reference


def _counterpart(
    node: ir.Node, value: ir.Value, region: Region, references: Sequence[Reference]
) -> Reference | None:
    """What PyTorch returns by the same call or line; the nearest that it is not."""
    origin, ours = region.flat.origins.get(node), region.values.get(value)
    if origin is None or ours is None:
        return None
    names = COUNTERPARTS.get(node.op_type, ())
    there = [
        made
        for made in references
        if made.module == origin.module
        and comparable(ours, made.value)
        and Match(made, distance(ours, made.value)).floors > DEPARTS
    ]
    same = [made for made in there if made.operation in names]
    same = same or [made for made in there if origin.source in made.sources]
    return min(same, key=lambda made: distance(ours, made.value), default=None)


def stopped(flat: Inlined, message: str) -> Departure | None:
    """The node at which ONNX Runtime gave up, if its message names one of the file.

    Args:
        flat: The graph.
        message: What ONNX Runtime said, e.g. ``... Name:'/up_blocks.1/Concat' ...``.
    """
    named = re.search(r"Name:'([^']+)'", message)
    node = next((n for n in flat.nodes if named and n.name == named[1]), None)
    if node is None:
        return None
    origin, module = flat.origins.get(node), flat.module(node)
    finding = Finding(
        module=module,
        block=_block(module),
        role=origin.role if origin else "",
        source=origin.source if origin else "",
        operator=node.op_type,
        node=node.name or "",
        value=node.outputs[0].name or "",
        before=0.0,
        after=math.inf,
        floors=math.inf,
        evidence=(message,),
    )
    begin = frozenset(value for value in node.inputs if value is not None)
    return Departure(flat, begin, node.outputs[0], None, finding)


def _first_wrong_parameter(
    region: Region, subject: Subject
) -> tuple[ir.Node, tuple[str, ...]] | None:
    for node in region.nodes:
        wrong = wrong_parameters(region.flat, node, subject)
        if wrong:
            return _user(node, region), wrong
    return None


def _source(origin: Origin | None, match: Match) -> str:
    if origin is not None and origin.source:
        return origin.source
    return match.reference.sources[0] if match.reference.sources else ""


def _block(module: str) -> str:
    """The module's parent where it is a block's layer: ``...resnets.0`` for its ``conv1``."""
    parts = module.split(".")
    while len(parts) > 1:
        parts.pop()
        if parts[-1].isdigit() or parts[-1] in ("mid_block", "time_embedding"):
            return ".".join(parts)
    return module


def _user(node: ir.Node, region: Region) -> ir.Node:
    """The node that computes with what this one only transposes or casts."""
    while node in region.flat.constant:
        users = [user for value in node.outputs for user in value.consumers()]
        if not users:
            return node
        node = users[0]
    return node


def _first_nonfinite(region: Region) -> ir.Node | None:
    values = region.values
    for node in region.alive:
        made = [values[v] for v in node.outputs if v in values]
        taken = [values[v] for v in node.inputs if v is not None and v in values]
        if any(_nonfinite(a) for a in made) and not any(_nonfinite(a) for a in taken):
            return node
    return None


def _nonfinite(array: Array) -> int:
    return int(np.count_nonzero(~np.isfinite(array.astype(np.float32))))


def _operands(node: ir.Node, values: Mapping[ir.Value, Array]) -> tuple[Operand, ...]:
    found = []
    for value in node.inputs:
        if value is None:
            continue
        array = values.get(value)
        if array is None and value.const_value is not None:
            array = value.const_value.numpy()
        if array is None or not array.size:
            continue
        numbers = array.astype(np.float32)
        finite = numbers[np.isfinite(numbers)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
        found.append(Operand(value.name or "", low, high, _nonfinite(array)))
    return tuple(found)


def _with_counterpart(region: Region, references: Sequence[Reference]) -> Iterator[ir.Node]:
    """Nodes that PyTorch has too, in order: an intermediate of its operators proves nothing.

    A node has a counterpart if its module makes the same call, or if it is the last of those
    that come from one line.
    """
    called = {(made.module, made.operation) for made in references}
    lines = {(made.module, source) for made in references for source in made.sources}
    flat = region.flat
    for node in region.alive:
        origin = flat.origins.get(node)
        if origin is None:
            continue
        if any((origin.module, name) in called for name in COUNTERPARTS.get(node.op_type, ())):
            yield node
            continue
        users = [user for value in node.outputs for user in value.consumers()]
        last = all(flat.origins.get(user) != origin for user in users)
        if last and (not origin.source or (origin.module, origin.source) in lines):
            yield node
