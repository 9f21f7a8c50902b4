"""The sampler's file against diffusers' own loop: scheduler, guidance, and the UNet's file.

Both run the same UNet in ONNX Runtime, so what is compared is the stage around it. The judge
is a noise floor: what the loop makes of one rounding of each prediction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from exporter.denoising.conditions import text_embedding, time_ids
from exporter.denoising.loop import Loop, denoise
from exporter.denoising.schedulers import load_scheduler
from exporter.digest import digests
from exporter.parity.metrics import compare
from exporter.runtime.session import Session, open_session
from exporter.sampler.conditions import INPAINTING, PIPELINE_NAMES
from exporter.sampler.plan import SamplerPlan
from exporter.types import OnProgress, Progress, quiet

FLOOR_FACTOR = 3.0
"""As for the UNet's trajectories (docs/PARITY.md)."""

ROUNDINGS = {"fp32": 2.0**-23, "fp16": 2.0**-10, "bf16": 2.0**-7}
"""Machine epsilon: what one rounding of a prediction can move it by."""

LEAST_FLOOR = 3e-7
"""Relative: two roundings of float32, where a run is too short to show more."""


@dataclass(frozen=True)
class Case:
    """One sampling run.

    Attributes:
        steps: ``num_inference_steps``.
        batch: Images.
        height: Of the latents.
        width: Of the latents.
        guidance: ``guidance_scale``; no guidance up to 1.
        tokens: Length of the text.
        seed: Of everything.
    """

    steps: int
    batch: int = 1
    height: int = 9
    width: int = 11
    guidance: float = 7.5
    tokens: int = 7
    seed: int = 0

    @property
    def name(self) -> str:
        """For people."""
        return (
            f"{self.steps} steps, {self.batch}x{self.height}x{self.width}, "
            f"guidance {self.guidance:g}"
        )


CASES = (
    Case(1),
    Case(2, batch=2, height=8, width=13, guidance=1.0),
    Case(4, batch=3, height=10, width=9),
)


@dataclass(frozen=True)
class Drift:
    """One run compared.

    Attributes:
        case: Which.
        evaluations: How often the UNet ran.
        rel_l2: Difference of the latents over them, root mean square: after every step where
            the file gives them out, else after the last.
        floors: The same of diffusers' loop against itself with every prediction rounded once
            more.
        same_timesteps: Whether the timesteps are diffusers', where the file gives them out.
    """

    case: Case
    evaluations: int
    rel_l2: tuple[float, ...]
    floors: tuple[float, ...]
    same_timesteps: bool = True

    @property
    def ratio(self) -> float:
        """Largest drift in noise floors."""
        pairs = zip(self.rel_l2, self.floors, strict=True)
        return max(drift / max(floor, LEAST_FLOOR) for drift, floor in pairs)

    @property
    def passed(self) -> bool:
        """Whether every step is within the floor."""
        return self.same_timesteps and self.ratio <= FLOOR_FACTOR


@dataclass(frozen=True)
class SamplerProof:
    """All runs.

    Attributes:
        drifts: One for each case.
        provider: Where ONNX Runtime ran.
        digest: What ties the verdict to the file: of its graph and its weights' headers.
    """

    drifts: tuple[Drift, ...]
    provider: str
    digest: Mapping[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether all runs are diffusers'."""
        return all(drift.passed for drift in self.drifts)

    @property
    def worst(self) -> Drift:
        """The one furthest from it."""
        return max(self.drifts, key=lambda drift: (not drift.same_timesteps, drift.ratio))

    def to_metadata(self) -> dict[str, Any]:
        """As ``atlas.sampler.parity``."""
        return {
            "verdict": "passed" if self.passed else "failed",
            "digest": dict(self.digest),
            "provider": self.provider,
            "floor_factor": FLOOR_FACTOR,
            "cases": [
                {
                    "name": d.case.name,
                    **asdict(d.case),
                    "rel_l2": d.rel_l2[-1],
                    "ratio": d.ratio,
                }
                for d in self.drifts
            ],
        }


@dataclass(frozen=True)
class Setup:
    """One case made concrete.

    Attributes:
        loop: diffusers' side.
        feeds: The sampler's inputs by name.
        guided: Whether there are two halves.
    """

    loop: Loop
    feeds: Mapping[str, torch.Tensor]
    guided: bool


def prove(
    path: Path,
    plan: SamplerPlan,
    cases: Sequence[Case] = CASES,
    on_progress: OnProgress = quiet,
) -> SamplerProof:
    """Runs every case in both.

    Args:
        path: The file as written.
        plan: What it should be.
        cases: Runs to compare.
        on_progress: Told after every run.

    Raises:
        ParityError: ONNX Runtime cannot run it.
    """
    unet = open_session(plan.request.unet, plan.request.provider)
    setups = [make_setup(plan, case) for case in cases]
    expected = []
    for index, setup in enumerate(setups):
        expected.append((reference(setup, unet), reference(setup, unet, _epsilon(plan))))
        on_progress(Progress("prove", index + 1, 2 * len(cases), "runs"))
    provider = unet.provider
    del unet  # before the second session is made
    session = open_session(path, plan.request.provider)
    drifts = []
    for index, (case, setup) in enumerate(zip(cases, setups, strict=True)):
        outputs = session.run(setup.feeds)
        drifts.append(_drift(case, setup, outputs, *expected[index]))
        on_progress(Progress("prove", len(cases) + index + 1, 2 * len(cases), "runs"))
    return SamplerProof(tuple(drifts), provider, digests(path))


def _epsilon(plan: SamplerPlan) -> float:
    return ROUNDINGS[plan.contract.dtype]


def reference(setup: Setup, unet: Session, epsilon: float = 0.0) -> list[torch.Tensor]:
    """Latents after every step of diffusers' loop over the UNet's file.

    Args:
        setup: The run.
        unet: The UNet's file.
        epsilon: How far every prediction is moved, up or down by chance, relatively.
    """
    random = torch.Generator().manual_seed(1)

    def predict(inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        outputs = unet.run(inputs)
        predicted = torch.from_numpy(next(iter(outputs.values()))).float()
        sign = torch.randint(0, 2, predicted.shape, generator=random) * 2.0 - 1.0
        return predicted * (1.0 + epsilon * sign)

    return [step.latents for step in denoise(setup.loop, predict)]


def _drift(
    case: Case,
    setup: Setup,
    outputs: Mapping[str, Any],
    expected: Sequence[torch.Tensor],
    other: Sequence[torch.Tensor],
) -> Drift:
    ours = list(outputs.get("step_latents", [outputs["out_latents"]]))
    timesteps = setup.loop.scheduler.timesteps.float().numpy()
    same = list(outputs.get("timesteps", timesteps)) == list(timesteps)
    if len(ours) not in (1, len(expected)):
        return Drift(case, len(ours), (float("inf"),), (0.0,), same_timesteps=False)
    tail = expected[-len(ours) :], other[-len(ours) :]
    return Drift(
        case,
        len(expected),
        tuple(compare(a, b.numpy()).rel_l2 for a, b in zip(ours, tail[0], strict=True)),
        tuple(
            compare(a.numpy(), b.numpy()).rel_l2 for a, b in zip(tail[1], tail[0], strict=True)
        ),
        same,
    )


def make_setup(plan: SamplerPlan, case: Case) -> Setup:
    """Seeded inputs for both sides."""
    scheduler = _scheduler(plan, case.steps)
    multiple = int(plan.contract.metadata.get("atlas.size_multiple", "1"))
    height, width = (-(-size // multiple) * multiple for size in (case.height, case.width))
    shape = (case.batch, plan.channels, height, width)
    random = torch.Generator().manual_seed(1_000 + case.seed)
    text = "encoder_hidden_states" in plan.contract.types
    embedded = "timestep_cond" in plan.contract.types
    guided = text and not embedded and case.guidance > 1
    made = {
        name: [_condition(plan, name, case, height, width, random) for _ in range(2)]
        for name in PIPELINE_NAMES
        if name in plan.contract.types
    }
    feeds = _named(made, twice=text and not embedded)
    conditions = {
        name: torch.cat([without, with_text]) if guided else with_text
        for name, (with_text, without) in made.items()
    }
    if embedded:
        conditions["timestep_cond"] = _embedded(plan, case)
    wide = int(plan.contract.shapes["sample"][1]) > plan.channels
    extra = {
        name: torch.randn(case.batch, size, height, width, generator=random)
        for name, size in (INPAINTING if wide else {}).items()
    }
    behind = torch.cat([*extra.values()], dim=1) if extra else None
    if behind is not None and guided:
        behind = torch.cat([behind, behind])
    loop = Loop(
        scheduler, shape, case.guidance if guided else None, conditions, behind, case.seed
    )
    drawn = torch.Generator().manual_seed(case.seed)
    latents = torch.randn(shape, generator=drawn)
    noise = [torch.randn(shape, generator=drawn) for _ in scheduler.timesteps]
    feeds = {
        **feeds,
        **extra,
        "latents": latents,
        "noise": torch.stack(noise),
        "num_inference_steps": torch.tensor(case.steps),
        "guidance_scale": torch.tensor(case.guidance),
        "guidance_rescale": torch.tensor(0.0),
    }
    return Setup(loop, feeds, guided)


def _scheduler(plan: SamplerPlan, steps: int) -> Any:
    """A fresh one: diffusers' keep state."""
    mine = plan.family.scheduler
    name = plan.contract.metadata.get("atlas.model.class", "UNet2DConditionModel")
    config = {k: v for k, v in mine.config.items() if not k.startswith("_")}
    return load_scheduler(type(mine).__name__, steps, class_name=name, config=config)


def _named(
    made: Mapping[str, Sequence[torch.Tensor]], *, twice: bool
) -> dict[str, torch.Tensor]:
    found = {}
    for name, (with_text, without) in made.items():
        own, other = PIPELINE_NAMES[name]
        found[own] = with_text
        if twice and other:
            found[other] = without
    return found


def _condition(
    plan: SamplerPlan, name: str, case: Case, height: int, width: int, random: torch.Generator
) -> torch.Tensor:
    sizes = {"B": case.batch, "S": case.tokens}
    axes = plan.contract.shapes[name]
    shape = tuple(
        axis
        if isinstance(axis, int) and axis
        else sizes.get(str(axis), case.batch if not i else case.tokens)
        for i, axis in enumerate(axes)
    )
    if name == "encoder_hidden_states":
        return text_embedding(shape, random)
    if name == "time_ids":
        size = (8.0 * height, 8.0 * width)
        return time_ids(shape[-1], size).expand(shape).clone()
    return torch.randn(shape, generator=random)


def _embedded(plan: SamplerPlan, case: Case) -> torch.Tensor:
    from exporter.denoising.conditions import guidance_embedding

    width = int(plan.contract.shapes["timestep_cond"][1])
    return guidance_embedding(torch.full((case.batch,), case.guidance), width)


def longer(case: Case, steps: int) -> Case:
    """The same case with another number of steps."""
    return replace(case, steps=steps)
