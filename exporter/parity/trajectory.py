"""Drift along whole sampling runs: real schedulers, both backends from the same noise."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from exporter.parity.cases import ParityCase
from exporter.parity.check import OUTPUT
from exporter.parity.inputs import make_inputs, schedule_of
from exporter.parity.metrics import Array, compare
from exporter.parity.reference import call, loaded, precisions
from exporter.parity.report import json_safe
from exporter.parity.session import open_session
from exporter.parity.tolerance import DEFAULTS
from exporter.types import Dtype, OnProgress, Progress, Provider, Source, quiet

SCHEDULERS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "ddim": ("DDIMScheduler", {"set_alpha_to_one": False, "steps_offset": 1}),
    "pndm": (
        "PNDMScheduler",
        {"skip_prk_steps": True, "set_alpha_to_one": False, "steps_offset": 1},
    ),
    "euler": ("EulerDiscreteScheduler", {"steps_offset": 1}),
    "dpm++": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++"}),
}
"""Name on the command line, diffusers class, and what Stable Diffusion's configs add."""

GUIDANCE = 7.5

_Denoise = Callable[[Mapping[str, torch.Tensor]], torch.Tensor]


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
        scheduler: Key of ``SCHEDULERS``.
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
    source: Source,
    case: ParityCase,
    *,
    steps: int,
    schedulers: Sequence[str] = tuple(SCHEDULERS),
    scheduler_config: Mapping[str, Any] | None = None,
    guidance: float = GUIDANCE,
    dtype: Dtype = "fp32",
    keep_fp32: Sequence[str] = (),
    provider: Provider = "auto",
    floor: bool = True,
    on_progress: OnProgress = quiet,
) -> tuple[Trajectory, ...]:
    """Sample with both backends and compare the latents after every step.

    PyTorch runs all of it first (twice with the floor) and is freed before ONNX Runtime opens
    the file. Each backend continues from its own latents, as it would in use.

    Args:
        onnx_path: The file.
        source: The UNet it should equal.
        case: Latent size, number of images, text length and seed; its timestep is not used.
        steps: Sampling steps.
        schedulers: Keys of ``SCHEDULERS``.
        scheduler_config: The model's own ``scheduler_config.json``; None for the schedule that
            models of its class are trained with.
        guidance: Classifier-free guidance as the pipeline does it: one batch of the
            unconditional and the conditional half. Not for models without text, nor for those
            that read the guidance scale themselves.
        dtype: Dtype of the file.
        keep_fp32: Modules of the file that compute in float32.
        provider: Where ONNX Runtime runs.
        floor: Also run PyTorch in higher precision, to know the drift that is unavoidable.
        on_progress: Told after each step of each run.
    """
    names = {spec.name for spec in source.inputs}
    guided = (
        "encoder_hidden_states" in names and "timestep_cond" not in names and guidance != 1
    )
    setup = _Setup(
        source,
        case,
        dtype,
        guidance if guided else 1.0,
        steps,
        {**schedule_of(source), **(scheduler_config or {})},
        keep_fp32,
    )
    lengths = sum(len(_scheduler(s, setup.config, steps).timesteps) for s in schedulers)
    count = _Count(on_progress, lengths * (3 if floor else 2))
    reference, other = _torch_runs(setup, schedulers, count, floor=floor)
    ours = _ort_runs(setup, schedulers, count, onnx_path, provider)
    factor = DEFAULTS[dtype].floor_factor or 0.0
    return tuple(
        Trajectory(
            s,
            case.name,
            setup.guidance,
            tuple(_drift(ours[s], reference[s], other.get(s))),
            factor,
        )
        for s in schedulers
    )


_Run = list[tuple[float, Array]]


def _torch_runs(
    setup: _Setup, schedulers: Sequence[str], count: _Count, *, floor: bool
) -> tuple[dict[str, _Run], dict[str, _Run]]:
    """The reference, and the run in the other precision that tells the floor."""
    first, second = precisions(setup.dtype)
    with loaded(setup.source, setup.dtype, keep_fp32=setup.keep_fp32) as unet:
        denoise = functools.partial(call, unet)
        with first:
            reference = {s: setup.sample(s, denoise, count) for s in schedulers}
        if not floor:
            return reference, {}
        with second:
            return reference, {s: setup.sample(s, denoise, count) for s in schedulers}


def _ort_runs(
    setup: _Setup, schedulers: Sequence[str], count: _Count, path: Path, provider: Provider
) -> dict[str, _Run]:
    session = open_session(path, provider)

    def denoise(inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        outputs = session.run(inputs)
        return torch.from_numpy(outputs.get(OUTPUT, next(iter(outputs.values()))))

    return {s: setup.sample(s, denoise, count) for s in schedulers}


@dataclass(frozen=True)
class _Setup:
    source: Source
    case: ParityCase
    dtype: Dtype
    guidance: float
    steps: int
    config: Mapping[str, Any]
    keep_fp32: Sequence[str]

    def sample(self, scheduler: str, denoise: _Denoise, count: Callable[[], None]) -> _Run:
        """Timestep and latents after every step."""
        images, guided = self.case.batch, self.guidance != 1
        case = ParityCase(
            images * (2 if guided else 1),
            self.case.height,
            self.case.width,
            self.case.tokens,
            seed=self.case.seed,
        )
        with torch._C.DisableTorchFunction():  # the scheduler is no part of what is compared
            inputs = make_inputs(case, self.source, self.dtype)
            plan = _scheduler(scheduler, self.config, self.steps)
            latents = self._noise() * plan.init_noise_sigma
        channels = latents.shape[1]
        found = []
        for timestep in plan.timesteps:
            with torch._C.DisableTorchFunction():
                model_input = torch.cat([latents] * 2) if guided else latents
                model_input = plan.scale_model_input(model_input, timestep)
                extra = inputs["sample"][:, channels:]
                sample = torch.cat([model_input.to(extra.dtype), extra], dim=1)
                fed = {**inputs, "sample": sample, "timestep": timestep.float().reshape(1)}
            predicted = denoise(fed)
            with torch._C.DisableTorchFunction():
                predicted = predicted.float().cpu()
                if guided:
                    without, with_text = predicted.chunk(2)
                    predicted = without + self.guidance * (with_text - without)
                latents = plan.step(predicted, timestep, latents, return_dict=False)[0]
                found.append((float(timestep), latents.numpy().copy()))
            count()
        return found

    def _noise(self) -> torch.Tensor:
        (spec,) = (spec for spec in self.source.inputs if spec.name == "sample")
        channels = int(self.source.config.get("out_channels") or spec.shape[1])
        random = torch.Generator().manual_seed(self.case.seed)
        size = (self.case.batch, channels, self.case.height, self.case.width)
        return torch.randn(size, generator=random)


class _Count:
    def __init__(self, on_progress: OnProgress, total: int) -> None:
        self._tell, self._done, self._total = on_progress, 0, total

    def __call__(self) -> None:
        self._done += 1
        self._tell(Progress("trajectory", self._done, self._total, "steps"))


def _scheduler(name: str, config: Mapping[str, Any], steps: int) -> Any:
    import diffusers

    class_name, extra = SCHEDULERS[name]
    known = {key: value for key, value in config.items() if not key.startswith("_")}
    plan = getattr(diffusers, class_name).from_config({**known, **extra})
    plan.set_timesteps(steps)
    return plan


def _drift(ours: _Run, reference: _Run, other: _Run | None) -> Iterator[DriftStep]:
    for index, ((timestep, a), (_, b)) in enumerate(zip(ours, reference, strict=True)):
        found = compare(a, b)
        floor = compare(other[index][1], b).rel_l2 if other else None
        yield DriftStep(timestep, found.max_abs, found.rel_l2, found.cosine, floor)
