"""How the time enters, without sampling: the timestep swept through the time path alone."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from exporter.errors import UsageError
from exporter.runtime.inlined import Inlined, load_inlined
from exporter.runtime.loading import load_graph
from exporter.runtime.session import Array, Session, open_session
from exporter.sample.find import find_points
from exporter.sample.layout import F32, Tensors, describe_points, describe_run
from exporter.sample.model import read_model
from exporter.sample.pipeline import completed
from exporter.sample.plan import RecordRequest, make_plan
from exporter.sample.points import Points
from exporter.sample.prompts import Prompt
from exporter.sample.recording import Recording
from exporter.types import OnProgress, Progress, StageRecord, quiet

LAST = 999.0
"""The last training timestep of every scheduler of Stable Diffusion."""


@dataclass(frozen=True)
class SweepReport:
    """What one sweep did.

    Attributes:
        target: The file written.
        nbytes: Its size.
        timesteps: How many.
        injections: How many places of injection.
        seconds: Wall time in all.
    """

    target: Path
    nbytes: int
    timesteps: int
    injections: int
    seconds: float


def sweep(request: RecordRequest, count: int, on_progress: OnProgress = quiet) -> SweepReport:
    """Runs only what depends on the timestep and not on the image, and records it.

    Args:
        request: The model, the target, and what SDXL's embedding depends on besides the time
            (prompt, size); the loop's own settings are not used.
        count: Timesteps, evenly from 0 to 999.
        on_progress: Told of every timestep.

    Raises:
        UsageError: Fewer than two timesteps, or a model without a time path.
        TargetError: The recording cannot be written.
    """
    if count < 2:
        raise UsageError(f"--sweep {count}", "2 or more timesteps")
    start = time.perf_counter()
    model = read_model(request.model)
    plan = make_plan(
        replace(
            completed(request, model), steps=1, scheduler="ddim", guidance=0.0, image=None
        ),
        model,
    )
    points = find_points(load_graph(model.path))
    if points.embedding is None or not points.injections:
        raise UsageError(f"{model.path.name} has no time injection to sweep")
    path = _TimePath(model.path, points)
    session = open_session(path.content, request.provider, weights_folder=path.folder)
    metadata = {
        **describe_run(plan, "none", count, session.provider),
        **describe_points(points),
        "kind": "sweep",
    }
    if "text_embeds" not in model.inputs:
        metadata["prompt"] = Prompt("none", "the time alone: no text is read").to_json()
    inputs = {**plan.conditions(), "sample": torch.zeros(1, model.channels, 8, 8)}
    tensors = _tensors(count, points, path.widths(session, inputs))
    with Recording(request.target, tensors, metadata) as recording:
        for index, timestep in enumerate(np.linspace(0.0, LAST, count)):
            vectors = path.run(session, inputs, float(timestep))
            _put(recording, index, float(timestep), vectors)
            on_progress(Progress("sweep", index + 1, count, "timesteps"))
    seconds = time.perf_counter() - start
    on_progress(Progress("sweep", record=StageRecord("sweep", seconds)))
    return SweepReport(
        request.target, recording.nbytes, count, len(points.injections), seconds
    )


class _TimePath:
    """The part of a graph that the time vector is computed by."""

    def __init__(self, path: Path, points: Points) -> None:
        flat: Inlined = load_inlined(path, ())
        nodes = {node.name: node for node in flat.nodes}
        assert points.embedding is not None
        found = [nodes[points.embedding.node].outputs[0]]
        for injection in points.injections:
            value = nodes[injection.node].inputs[injection.vector]
            assert value is not None
            found.append(value)
        self.content, self.folder = flat.instrumented(found), flat.folder
        self._names = [value.name or "" for value in found]

    def run(
        self, session: Session, inputs: dict[str, torch.Tensor], timestep: float
    ) -> list[Array]:
        """The embedding and every injected vector, flat, at one timestep."""
        outputs = session.run({**inputs, "timestep": torch.tensor([timestep])})
        return [outputs[name].astype(np.float32).reshape(-1) for name in self._names]

    def widths(self, session: Session, inputs: dict[str, torch.Tensor]) -> list[int]:
        """Length of each vector that ``run`` returns."""
        return [vector.size for vector in self.run(session, inputs, 0.0)]


def _tensors(count: int, points: Points, widths: list[int]) -> Tensors:
    tensors: Tensors = {
        "timestep": (F32, (count,)),
        "temb": (F32, (count, 1, widths[0])),
        "injection.vector": (F32, (count, 1, len(points.injections))),
    }
    for number, width in enumerate(widths[1:]):
        tensors[f"injection.channels.{number}"] = (F32, (count, width))
    return tensors


def _put(recording: Recording, index: int, timestep: float, vectors: list[Array]) -> None:
    embedding, *injected = vectors
    recording.put("timestep", index, timestep)
    recording.put("temb", index, embedding[None])
    squares = [np.mean(np.square(vector, dtype=np.float64)) for vector in injected]
    recording.put("injection.vector", index, np.sqrt([squares]))
    for number, vector in enumerate(injected):
        recording.put(f"injection.channels.{number}", index, vector)
