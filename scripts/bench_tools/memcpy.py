"""Copies between host and device: nodes of an optimised graph, and what a GPU really did."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx

COPIES = ("MemcpyFromHost", "MemcpyToHost")
"""Operators that ONNX Runtime puts between nodes of different devices."""

DIRECTIONS = ("Memcpy HtoD", "Memcpy DtoH")
"""Beginnings of the names that CUPTI gives to copies between host and device."""


@dataclass(frozen=True)
class Nodes:
    """Copies by where they stand.

    Attributes:
        outside: Names of those that run once.
        inside: Names of those in the body of a ``Loop``, in a branch there included.
    """

    outside: tuple[str, ...]
    inside: tuple[str, ...]


def nodes(model: onnx.ModelProto) -> Nodes:
    """Finds the copies in a graph that ONNX Runtime has optimised and saved."""
    found = [*_walk(model.graph, looped=False)]
    return Nodes(
        tuple(name for name, looped in found if not looped),
        tuple(name for name, looped in found if looped),
    )


def _walk(graph: onnx.GraphProto, *, looped: bool) -> Iterator[tuple[str, bool]]:
    for node in graph.node:
        if node.op_type in COPIES:
            yield f"{node.op_type} {node.name or node.output[0]}", looped
        within = looped or node.op_type == "Loop"
        for attribute in node.attribute:
            for inner in (*attribute.graphs, attribute.g):
                yield from _walk(inner, looped=within)


def per_round(short: Mapping[str, int], long: Mapping[str, int], rounds: int) -> Counter[str]:
    """Copies of one round of the loop, rounded up; those around it are in both runs.

    Args:
        short: Activities of a run by name.
        long: The same of a run with more rounds.
        rounds: How many more.
    """
    found: Counter[str] = Counter()
    for direction in DIRECTIONS:
        before, after = (
            sum(n for name, n in run.items() if name.startswith(direction))
            for run in (short, long)
        )
        found[direction.removeprefix("Memcpy ")] = math.ceil((after - before) / rounds)
    return found


def loop_time(events: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """Seconds of the last ``Loop`` in ONNX Runtime's profile, and of the nodes in its body.

    Nodes in branches are part of their ``If``. What is left is the loop's own: handing state
    on, and the profiler.

    Raises:
        ValueError: The profile has no ``Loop``.
    """
    nodes = [e for e in events if e.get("cat") == "Node" and e["name"].endswith("kernel_time")]
    loops = [e for e in nodes if e["args"].get("op_name") == "Loop"]
    if not loops:
        raise ValueError("the profile has no Loop")
    loop = max(loops, key=lambda e: e["ts"])
    ends = loop["ts"] + loop["dur"]
    body, last = 0.0, -1.0
    for event in sorted(nodes, key=lambda e: (e["ts"], -e["dur"])):
        if event is loop or not max(loop["ts"], last) <= event["ts"] < ends:
            continue
        body += event["dur"]
        last = event["ts"] + event["dur"]
    return loop["dur"] / 1e6, body / 1e6
