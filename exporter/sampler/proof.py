"""The sampler's file against diffusers' own loop: scheduler, guidance, and the UNet's file.

Both run the same UNet in ONNX Runtime, so what is compared is the stage around it. The judge
is a noise floor: what the loop makes of one rounding of each prediction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from exporter.denoising.loop import denoise
from exporter.digest import digests
from exporter.parity.metrics import compare
from exporter.runtime.session import Session, open_session
from exporter.sampler.plan import SamplerPlan
from exporter.sampler.setup import CASES, Case, Setup, make_setup
from exporter.sampler.verdict import ROUNDINGS, Proof
from exporter.types import OnProgress, Progress, quiet

LEAST_FLOOR = 3e-7
"""Relative: two roundings of float32, where a run is too short to show more."""


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
        """Largest drift in noise floors; infinite where timesteps differ."""
        if not self.same_timesteps:
            return float("inf")
        pairs = zip(self.rel_l2, self.floors, strict=True)
        return max(drift / max(floor, LEAST_FLOOR) for drift, floor in pairs)

    def figures(self) -> dict[str, Any]:
        """The difference after the last step."""
        return {"rel_l2": self.rel_l2[-1]}


def prove(
    path: Path,
    plan: SamplerPlan,
    cases: Sequence[Case] = CASES,
    on_progress: OnProgress = quiet,
) -> Proof[Drift]:
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
    return Proof(tuple(drifts), provider, digests(path))


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
