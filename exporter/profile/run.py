"""A file run under ONNX Runtime's profiler; which kernel took how long."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from exporter.errors import ParityError, UsageError
from exporter.leftovers import scratch
from exporter.runtime.inlined import Inlined
from exporter.runtime.providers import EXECUTION_PROVIDERS, Obtained, silent

_INLINE = 1 << 10  # bytes from which the optimised graph's weights go to a file of their own
_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
}


@dataclass(frozen=True)
class Kernel:
    """One kernel of the optimised graph.

    Attributes:
        name: Node name in the optimised graph.
        operator: Its operator, e.g. ``FusedConv``.
        inputs: Names of the values it reads.
        outputs: Names of the values it makes.
        microseconds: Its mean time in one run.
    """

    name: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    microseconds: float


@dataclass(frozen=True)
class Measured:
    """What the profiler said.

    Attributes:
        kernels: Every kernel that ran, in the order of the optimised graph.
        total: Microseconds of all kernel events of one run, named or not.
        wall: Microseconds of one run from call to return.
    """

    kernels: tuple[Kernel, ...]
    total: float
    wall: float


def measure(
    inlined: Inlined, sizes: Mapping[str, int], provider: Obtained, runs: int
) -> Measured:
    """Runs a flat copy of the file ``runs`` times, after one run to warm up.

    ONNX Runtime optimises the copy as it would the file, and writes what it made of it for a
    moment: that tells which values each kernel computes, and takes as much disk as the
    weights.

    Args:
        inlined: The file, functions inlined: ONNX Runtime inlines them too, under names of
            its own.
        sizes: Size of each symbolic dimension, e.g. ``{"B": 1, "H": 32, "W": 32, "S": 77}``.
        provider: Where to run.
        runs: Runs that count.

    Raises:
        UsageError: The file cannot be loaded, or has an axis that ``sizes`` lacks.
        ParityError: ONNX Runtime cannot run it on these sizes.
    """
    with scratch(inlined.folder / "profile") as place:
        session = _open(inlined, place, provider)
        feeds = {spec.name: _feed(spec, sizes) for spec in session.get_inputs()}
        try:
            for _ in range(runs + 1):
                session.run(None, feeds)
        except Exception as error:  # the binding raises one class per status code
            text = " ".join(str(error).split())
            raise ParityError(f"ONNX Runtime cannot run the graph: {text[:400]}") from error
        events = json.loads(Path(session.end_profiling()).read_text())
        optimised = onnx.load(place / "optimised.onnx", load_external_data=False)
    return _read(events, optimised.graph, runs)


def _open(inlined: Inlined, place: Path, provider: Obtained) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.enable_profiling = True
    options.profile_file_prefix = str(place / "profile")
    options.optimized_model_filepath = str(place / "optimised.onnx")
    for key, value in (
        ("session.model_external_initializers_file_folder_path", str(inlined.folder)),
        ("session.optimized_model_external_initializers_file_name", "optimised.data"),
        ("session.optimized_model_external_initializers_min_size_in_bytes", str(_INLINE)),
        ("session.intra_op.allow_spinning", "0"),
    ):
        options.add_session_config_entry(key, value)
    names: list[Any] = [EXECUTION_PROVIDERS["cpu"]]
    if provider == "cuda":
        names.insert(0, (EXECUTION_PROVIDERS["cuda"], {"use_tf32": "0"}))
    outputs = list(inlined.model.graph.outputs)
    try:
        with silent():
            return onnxruntime.InferenceSession(
                inlined.instrumented(outputs), options, providers=names
            )
    except Exception as error:  # the binding raises one class per status code
        text = " ".join(str(error).split())
        raise UsageError(f"ONNX Runtime cannot load the file: {text[:400]}") from error


def _feed(spec: Any, sizes: Mapping[str, int]) -> Any:
    """Values of a usual size; no kernel of a UNet takes longer for some than for others."""
    unknown = [axis for axis in spec.shape if isinstance(axis, str) and axis not in sizes]
    if unknown or spec.type not in _TYPES:
        raise UsageError(
            f"input {spec.name} is {spec.type} with axes {spec.shape}",
            f"axes named {', '.join(sizes)}",
            "profile a file that python -m exporter wrote",
        )
    shape = [sizes.get(axis, axis) for axis in spec.shape]
    values = np.random.default_rng(0).standard_normal(shape)
    if spec.name in ("timestep", "class_labels"):
        values = np.full(shape, 1.0)
    return values.astype(_TYPES[spec.type])


def _read(events: list[dict[str, Any]], graph: onnx.GraphProto, runs: int) -> Measured:
    """Matches events with nodes by position: many nodes have no name.

    Both lists are in the order in which ONNX Runtime runs one node after another.
    """
    walls = [event["dur"] for event in events if event["name"] == "model_run"]
    kernels = [
        event
        for event in events
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time")
    ]
    counted = kernels[len(graph.node) :]  # the first run is not
    if len(kernels) != (runs + 1) * len(graph.node):
        raise ParityError(
            f"ONNX Runtime ran {len(kernels) // (runs + 1)} kernels",
            f"the {len(graph.node)} of the graph that it wrote",
        )
    found = []
    for index, node in enumerate(graph.node):
        same = counted[index :: len(graph.node)]
        if any(event["args"]["op_name"] != node.op_type for event in same):
            raise ParityError(
                f"ONNX Runtime ran {same[0]['args']['op_name']} at {index}", node.op_type
            )
        found.append(
            Kernel(
                node.name or f"{node.op_type}_{index}",
                node.op_type,
                tuple(node.input),
                tuple(node.output),
                sum(event["dur"] for event in same) / runs,
            )
        )
    total = sum(event["dur"] for event in counted) / runs
    return Measured(tuple(found), total, sum(walls[1:]) / runs)
