"""Values of a half-precision file that leave their type's range, seen one by one.

ONNX Runtime's CPU provider has few half kernels: it casts to float32 around most operators
and then removes the casts between neighbours, so a value that overflows in fp16 on a GPU
passes there unnoticed. The largest magnitude of every half value is therefore asked for by
name, which makes ONNX Runtime round it to the type the file declares.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
import torch

from exporter.runtime.inlined import Inlined, load_inlined
from exporter.runtime.memory import give_back
from exporter.runtime.session import Array, open_session
from exporter.types import Provider

_HALVES = frozenset({ir.DataType.FLOAT16, ir.DataType.BFLOAT16})


@dataclass(frozen=True)
class Overflow:
    """One value that is not finite although what it is made of is.

    Attributes:
        value: Name of the value.
        node: Operator and name of the node that makes it.
        module: Path of that node's module; empty where unknown.
    """

    value: str
    node: str
    module: str

    def __str__(self) -> str:
        return (
            f"{self.node} in {self.module or 'the UNet itself'} leaves the range of its type"
        )


def overflows(
    onnx_path: Path, provider: Provider, inputs: Iterable[Mapping[str, torch.Tensor]]
) -> list[Overflow | None]:
    """For each input, the first half value in topological order that is NaN or infinite.

    Costs one session, and one scalar for each half value of the graph.

    Args:
        onnx_path: The file.
        provider: Where it runs.
        inputs: Graph inputs by name, for each run.
    """
    flat = load_inlined(onnx_path, frozenset())
    watched = _watch(flat)
    if not watched:
        return [None for _ in inputs]
    data = ir.to_proto(flat.model).SerializeToString()
    session = open_session(data, provider, weights_folder=flat.folder)
    found = [_first(flat, watched, session.run(tensors)) for tensors in inputs]
    del session
    give_back()
    return found


def _first(
    flat: Inlined, watched: Mapping[str, ir.Value], peaks: Mapping[str, Array]
) -> Overflow | None:
    for name, value in watched.items():
        if not np.isfinite(peaks[name]).all():
            node = value.producer()
            assert node is not None  # only values that nodes made are watched
            return Overflow(value.name or "", f"{node.op_type} {node.name}", flat.module(node))
    return None


def _watch(flat: Inlined) -> dict[str, ir.Value]:
    """Replaces the graph's outputs by the largest magnitude of every half value."""
    watched: dict[str, ir.Value] = {}
    graph = flat.model.graph
    graph.outputs.clear()
    for node in flat.nodes:
        for value in node.outputs:
            if value.dtype not in _HALVES or node in flat.constant:
                continue
            magnitude = ir.node("Abs", [value], name=f"abs_{len(watched)}")
            peak = ir.node(
                "ReduceMax", magnitude.outputs, {"keepdims": 0}, name=f"peak_{len(watched)}"
            )
            for made, name in ((magnitude, "abs"), (peak, "peak")):
                made.outputs[0].name = f"{name}_{len(watched)}"
                made.outputs[0].type = ir.TensorType(value.dtype)
            graph.extend([magnitude, peak])
            graph.outputs.append(peak.outputs[0])
            watched[peak.outputs[0].name or ""] = value
    return watched
