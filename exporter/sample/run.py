"""The loop in ONNX Runtime, watched or not, into a recording."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from exporter.denoising.loop import denoise
from exporter.runtime.memory import give_back
from exporter.runtime.session import Array, Session, open_session
from exporter.sample.decode import Decoder
from exporter.sample.experiments.edit import Experiment
from exporter.sample.follow import OnGrowth, unfollowed
from exporter.sample.instrument import EMBEDDING, OUT, Instrumented
from exporter.sample.layout import PAIRS, map_size
from exporter.sample.plan import Plan
from exporter.sample.recording import Recording
from exporter.types import OnProgress, Progress, Provider, StageRecord


@dataclass
class Evaluations:
    """What was seen of one run of the loop.

    Attributes:
        provider: Where ONNX Runtime ran.
        seconds: Of each evaluation.
        differences: Largest difference of each evaluation to the file as it is, if compared.
    """

    provider: str
    seconds: list[float] = field(default_factory=list)
    differences: list[float] = field(default_factory=list)


class Evaluator:
    """A session as the loop wants it; keeps the outputs of its last run and their time.

    Args:
        session: What runs.
        experiment: What the copy in it is fed besides.
    """

    def __init__(self, session: Session, experiment: Experiment) -> None:
        self._session, self._experiment, self._step = session, experiment, 0
        self.outputs: Mapping[str, Array] = {}
        self.seconds = 0.0

    def __call__(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Runs the UNet; returns ``out_sample``."""
        self.outputs = {}  # before the next ones are made
        start = time.perf_counter()
        self.outputs = self._session.run({**inputs, **self._experiment.feeds(self._step)})
        self._step += 1
        self.seconds = time.perf_counter() - start
        return torch.from_numpy(self.outputs[OUT])


class Run:
    """One plan into one recording.

    Args:
        plan: What to run.
        recording: Where it goes.
        provider: Where to run.
        on_progress: Told of every evaluation.
        on_growth: Told of every evaluation that can be read from the recording.
    """

    def __init__(
        self,
        plan: Plan,
        recording: Recording,
        provider: Provider,
        on_progress: OnProgress,
        on_growth: OnGrowth = unfollowed,
    ) -> None:
        self._plan, self._recording = plan, recording
        self._provider, self._on_progress = provider, on_progress
        self._on_growth = on_growth

    def plain(self, edited: Instrumented | None = None) -> Evaluations:
        """Runs without measuring; the predictions lie in the recording until overwritten.

        Args:
            edited: The copy of an experiment, unmeasured; None for the file as it is.
        """
        model = edited or self._plan.model.path
        with self._evaluator(model, "unwatched") as (evaluate, seen):
            for step in denoise(self._plan.loop, evaluate):
                self._recording.put(OUT, step.index, evaluate.outputs[OUT])
                self._recording.put("plain.seconds", step.index, evaluate.seconds)
                self._advance("unwatched", evaluate, seen)
        return seen

    def watched(
        self, model: Instrumented, decoder: Decoder | None, *, compare: bool
    ) -> Evaluations:
        """Runs the instrumented copy and writes everything down.

        Args:
            model: The copy.
            decoder: Makes previews, if there is a VAE.
            compare: Whether ``plain`` has run.
        """
        put = self._recording.put
        put("latents", 0, self._plan.loop.first_latents()[0][0].numpy())
        self._grown(0)
        with self._evaluator(model, "recording") as (evaluate, seen):
            for step in denoise(self._plan.loop, evaluate):
                index, outputs = step.index, evaluate.outputs
                if compare:
                    before = self._recording.get(OUT, index)
                    seen.differences.append(largest_difference(before, outputs[OUT]))
                    put("plain.max_abs", index, seen.differences[-1])
                put("timestep", index, step.timestep)
                put("seconds", index, evaluate.seconds)
                put("latents", index + 1, step.latents[0].numpy())
                put(OUT, index, outputs[OUT])
                if step.clean is not None:
                    put("clean", index, step.clean[0].numpy())
                self._measurements(model, outputs, index)
                if decoder is not None:
                    shown = step.latents if step.clean is None else step.clean
                    put("preview", index, decoder(shown))
                self._advance("recording", evaluate, seen)
                self._grown(index + 1)
        return seen

    def _grown(self, done: int) -> None:
        self._recording.flush()
        self._on_growth(self._recording.place, done, self._plan.loop.evaluations)

    def _measurements(
        self, model: Instrumented, outputs: Mapping[str, Array], index: int
    ) -> None:
        put = self._recording.put
        for name, value in block_moments(_stacked(outputs, "block")).items():
            put(f"block.{name}", index, value)
        for kind, parts in PAIRS.items():
            found = _stacked(outputs, kind)
            for part, value in zip(parts, found, strict=False):
                put(f"{kind}.{part}", index, np.sqrt(value))
        entropies = _stacked(outputs, "entropy")
        if len(entropies):
            put("attention.entropy", index, entropies)
        if EMBEDDING in outputs:
            put("temb", index, outputs[EMBEDDING])
        height, width = self._plan.height, self._plan.width
        for number, attention in enumerate(model.points.attentions):
            for kind in ("map", "heads"):
                maps = outputs.get(f"watch.{kind}.{number}")
                if maps is not None:
                    size = map_size(height, width, attention.level)
                    shaped = maps.reshape(*maps.shape[:-1], *size)
                    put(f"attention.{kind}.{number}", index, shaped)
        for number, attention in enumerate(model.selves):
            looks = outputs[f"watch.self.{number}"]
            shaped = looks.reshape(
                *looks.shape[:-1], *map_size(height, width, attention.level)
            )
            put(f"attention.self.{number}", index, shaped)

    @contextmanager
    def _evaluator(
        self, model: Path | Instrumented, stage: str
    ) -> Iterator[tuple[Evaluator, Evaluations]]:
        start = time.perf_counter()
        if isinstance(model, Path):
            session, experiment = open_session(model, self._provider), Experiment()
        else:
            experiment = model.experiment
            session = open_session(
                model.content, self._provider, weights_folder=model.folder, in_order=True
            )
        try:
            yield Evaluator(session, experiment), Evaluations(session.provider)
        finally:
            del session
            give_back()
        taken = time.perf_counter() - start
        self._on_progress(Progress(stage, record=StageRecord(stage, taken)))

    def _advance(self, stage: str, evaluate: Evaluator, seen: Evaluations) -> None:
        seen.seconds.append(evaluate.seconds)
        done, total = len(seen.seconds), self._plan.loop.evaluations
        self._on_progress(Progress(stage, done, total, "evaluations"))


def block_moments(found: Array) -> dict[str, Array]:
    """Statistics as they are recorded, from those the graph returns.

    Args:
        found: Mean, mean square, minimum and maximum: (4, R, blocks).
    """
    mean, square, least, most = found.astype(np.float64)
    return {
        "mean": mean,
        "rms": np.sqrt(square),
        "min": least,
        "max": most,
        "std": np.sqrt(np.maximum(square - mean**2, 0)),
    }


def largest_difference(one: Array, other: Array) -> float:
    """0 where every bit is equal (NaN included), else the largest absolute difference."""
    if one.tobytes() == other.astype(one.dtype).tobytes():
        return 0.0
    return float(np.abs(one.astype(np.float64) - other).max())


def median(seconds: Sequence[float]) -> float:
    """Of all but the first, which pays for what later ones find ready."""
    return statistics.median(seconds[1:] or seconds)


def _stacked(outputs: Mapping[str, Array], kind: str) -> Array:
    """Measurements of one kind side by side: (..., R, count); empty if there are none."""
    found: list[Array] = []
    while (name := f"watch.{kind}.{len(found)}") in outputs:
        found.append(outputs[name])
    return np.stack(found, axis=-1) if found else np.zeros(0)
