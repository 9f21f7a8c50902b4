"""Drift along whole sampling runs: real schedulers, both backends from the same noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from exporter.call import call
from exporter.denoising.loop import Loop, Predict, denoise
from exporter.denoising.schedulers import load_scheduler
from exporter.parity.ask import loaded, precisions
from exporter.parity.cases import ParityCase
from exporter.parity.count import Count
from exporter.parity.judge import OUTPUT
from exporter.parity.metrics import compare
from exporter.parity.report import json_safe
from exporter.parity.subject import Subject
from exporter.runtime.session import Array, open_session
from exporter.types import OnProgress, quiet

SCHEDULERS = ("ddim", "pndm", "euler", "dpm++")
"""What a run samples with unless told otherwise."""

GUIDANCE = 7.5

DRIFT = 3.0
"""Floors that the end of a run may be away; honest runs were at 1.0 to 1.4."""


@dataclass(frozen=True)
class DriftStep:
    """The latents after one step, ONNX Runtime's against PyTorch's.

    Attributes:
        timestep: The scheduler's timestep.
        max_abs: Largest difference.
        rel_l2: Root mean square of the difference over that of the latents.
        cosine: Cosine of the angle between both.
        floor: ``rel_l2`` of PyTorch against itself in higher precision; None if not run.
    """

    timestep: float
    max_abs: float
    rel_l2: float
    cosine: float
    floor: float | None


@dataclass(frozen=True)
class Trajectory:
    """One sampling run.

    Attributes:
        scheduler: Its name.
        case: Latent size; its batch is the number of images.
        guidance: Scale of classifier-free guidance; 1 without.
        steps: Drift after every step.
        floor_factor: How many floors the end may be away.
    """

    scheduler: str
    case: str
    guidance: float
    steps: tuple[DriftStep, ...]
    floor_factor: float

    @property
    def end(self) -> DriftStep:
        """The last step."""
        return self.steps[-1]

    @property
    def ratio(self) -> float | None:
        """Drift at the end in noise floors, the floor having drifted over the same steps."""
        floor = self.end.floor
        return None if floor is None else self.end.rel_l2 / max(floor, 1e-9)

    @property
    def passed(self) -> bool:
        """Whether the drift at the end is finite, and within the floor where measured."""
        if not self.end.rel_l2 < float("inf"):
            return False
        return self.ratio is None or self.ratio <= self.floor_factor

    def to_json(self) -> dict[str, Any]:
        """As in docs/report.schema.json."""
        found = {**asdict(self), "passed": self.passed, "ratio": self.ratio}
        safe: dict[str, Any] = json_safe(found)
        return safe


def run_trajectories(
    onnx_path: Path,
    subject: Subject,
    case: ParityCase,
    *,
    steps: int,
    schedulers: Sequence[str] = SCHEDULERS,
    scheduler_config: Mapping[str, Any] | None = None,
    guidance: float = GUIDANCE,
    floor: bool = True,
    on_progress: OnProgress = quiet,
) -> tuple[Trajectory, ...]:
    """Sample with both backends and compare the latents after every step.

    PyTorch runs all of it first (twice with the floor) and is freed before ONNX Runtime opens
    the file. Each backend continues from its own latents, as it would in use.

    Args:
        onnx_path: The file.
        subject: What it should equal.
        case: Latent size, number of images, text length and seed; its timestep is not used.
        steps: Sampling steps.
        schedulers: Names as in ``denoising.schedulers.SHORT``.
        scheduler_config: The model's own ``scheduler_config.json``; None for the schedule that
            models of its class are trained with.
        guidance: Classifier-free guidance as the pipeline does it: one batch of the
            unconditional and the conditional half. Not for models without text, nor for those
            that read the guidance scale themselves.
        floor: Also run PyTorch in higher precision, to know the drift that is unavoidable.
        on_progress: Told after each step of each run.
    """
    names = {spec.name for spec in subject.source.inputs}
    guided = (
        "encoder_hidden_states" in names and "timestep_cond" not in names and guidance != 1
    )
    scale = guidance if guided else None
    loops = {
        name: _loop(name, steps, subject, case, scale, scheduler_config) for name in schedulers
    }
    steps_in_all = sum(loop.evaluations for loop in loops.values()) * (3 if floor else 2)
    count = Count(on_progress, "trajectory", steps_in_all, "steps")
    reference, other = _torch_runs(loops, subject, count, floor=floor)
    ours = _ort_runs(loops, subject, count, onnx_path)
    return tuple(
        Trajectory(
            name,
            case.name,
            loop.guidance or 1.0,
            tuple(_drift(ours[name], reference[name], other.get(name))),
            DRIFT,
        )
        for name, loop in loops.items()
    )


_Run = list[tuple[float, Array]]
"""Timestep and latents after every step."""


def _loop(
    name: str,
    steps: int,
    subject: Subject,
    case: ParityCase,
    guidance: float | None,
    config: Mapping[str, Any] | None,
) -> Loop:
    rows = case.batch * (1 if guidance is None else 2)
    made = subject.inputs(replace(case, batch=rows, timestep=500.0, per_sample=False))
    sample = made["sample"]
    channels = int(subject.source.config.get("out_channels") or sample.shape[1])
    return Loop(
        load_scheduler(name, steps, class_name=subject.source.class_name, config=config),
        (case.batch, channels, case.height, case.width),
        guidance,
        {name: value for name, value in made.items() if name not in ("sample", "timestep")},
        sample[:, channels:] if sample.shape[1] > channels else None,
        case.seed,
    )


def _torch_runs(
    loops: Mapping[str, Loop],
    subject: Subject,
    count: Callable[[], None],
    *,
    floor: bool,
) -> tuple[dict[str, _Run], dict[str, _Run]]:
    """The reference, and the run in the other precision that tells the floor."""
    first, second = precisions(subject.dtype)
    with loaded(subject) as unet:

        def runs(mode: AbstractContextManager[Any]) -> dict[str, _Run]:
            def predict(inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
                sample = inputs["sample"].to(subject.torch_dtype)
                with mode:  # the scheduler is no part of what is compared
                    return call(unet, {**inputs, "sample": sample})

            return {name: _run(loop, predict, count) for name, loop in loops.items()}

        return runs(first), runs(second) if floor else {}


def _ort_runs(
    loops: Mapping[str, Loop], subject: Subject, count: Callable[[], None], path: Path
) -> dict[str, _Run]:
    session = open_session(path, subject.provider)

    def predict(inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        outputs = session.run(inputs)
        return torch.from_numpy(outputs.get(OUTPUT, next(iter(outputs.values()))))

    return {name: _run(loop, predict, count) for name, loop in loops.items()}


def _run(loop: Loop, predict: Predict, count: Callable[[], None]) -> _Run:
    found = []
    for step in denoise(loop, predict):
        found.append((step.timestep, step.latents.numpy().copy()))
        count()
    return found


def _drift(ours: _Run, reference: _Run, other: _Run | None) -> Iterator[DriftStep]:
    for index, ((timestep, a), (_, b)) in enumerate(zip(ours, reference, strict=True)):
        found = compare(a, b)
        floor = compare(other[index][1], b).rel_l2 if other else None
        yield DriftStep(timestep, found.max_abs, found.rel_l2, found.cosine, floor)
