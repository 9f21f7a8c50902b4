"""The text-to-image file against diffusers' pipeline: same token ids, same noise, same image.

The judge is a noise floor: how far the pipeline in the file's dtype is from itself in a higher
precision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from exporter.denoising.schedulers import load_scheduler
from exporter.digest import digests
from exporter.parity.metrics import Floor, measure_floor
from exporter.runtime.session import Array, open_session
from exporter.sampler.verdict import ROUNDINGS, Proof
from exporter.text_to_image.decoder import factor
from exporter.text_to_image.part import Part
from exporter.text_to_image.plan import PicturePlan
from exporter.text_to_image.reference import (
    Ids,
    drawing,
    give_ids,
    load_pipeline,
    prompts,
)
from exporter.torch_dtypes import TORCH_DTYPES
from exporter.types import OnProgress, Progress, quiet


@dataclass(frozen=True)
class Case:
    """One image.

    Attributes:
        steps: ``num_inference_steps``.
        batch: Images.
        height: Of the latents, at least.
        width: Likewise.
        guidance: ``guidance_scale``.
        negative: Whether there is a negative prompt; without one it is empty, or zeros.
        seed: Of everything.
    """

    steps: int
    batch: int = 1
    height: int = 10
    width: int = 12
    guidance: float = 7.5
    negative: bool = True
    seed: int = 0

    @property
    def name(self) -> str:
        """For people."""
        return (
            f"{self.steps} steps, {self.batch}x{self.height}x{self.width}, "
            f"guidance {self.guidance:g}" + ("" if self.negative else ", no negative prompt")
        )


CASES = (Case(2, batch=2), Case(3, height=12, width=8, guidance=1.0), Case(4, negative=False))


@dataclass(frozen=True)
class Difference:
    """One image compared.

    Attributes:
        case: Which.
        floor: Distances from the truth; None where the pipeline's own image is not finite.
        max_abs: Largest difference to the pipeline's image in the file's dtype, of 0 to 1.
    """

    case: Case
    floor: Floor | None
    max_abs: float

    @property
    def ratio(self) -> float:
        """Noise floors between the file's image and the truth."""
        return float("inf") if self.floor is None else self.floor.ratio

    def figures(self) -> dict[str, Any]:
        """The largest difference."""
        return {"max_abs": self.max_abs}


@dataclass(frozen=True)
class Setup:
    """One case made concrete.

    Attributes:
        case: Which.
        ids: Of each encoder.
        latents: The initial noise, (B, C, H, W).
        noise: What the scheduler draws, (N, B, C, H, W).
        size: Height and width of the image.
    """

    case: Case
    ids: tuple[Ids, ...]
    latents: torch.Tensor
    noise: torch.Tensor
    size: tuple[int, int]

    @property
    def feeds(self) -> Mapping[str, torch.Tensor]:
        """Inputs of the file by name, those included that it may not have."""
        found: dict[str, torch.Tensor] = {
            "latents": self.latents,
            "noise": self.noise,
            "guidance_scale": torch.tensor(self.case.guidance),
            "guidance_rescale": torch.tensor(0.0),
            "num_inference_steps": torch.tensor(self.case.steps),
            "zero_negative": torch.tensor(not self.case.negative),
        }
        for index, ids in enumerate(self.ids):
            suffix = f"_{index + 1}" if index else ""
            found[f"input_ids{suffix}"] = ids.positive
            found[f"negative_input_ids{suffix}"] = ids.negative
        return found


def prove(
    path: Path,
    plan: PicturePlan,
    cases: Sequence[Case] = CASES,
    on_progress: OnProgress = quiet,
) -> Proof[Difference]:
    """Makes every image three times: in higher precision, in the file's, and with the file.

    Args:
        path: The file as written.
        plan: What it should be.
        cases: Images to compare.
        on_progress: Told after every image.

    Raises:
        ParityError: ONNX Runtime cannot run it.
    """
    setups = [make_setup(plan, case) for case in cases]
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        on_progress(Progress("prove", done, 3 * len(cases), "images"))

    truths, natives = (
        images(plan, setups, dtype, count) for dtype in precisions(TORCH_DTYPES[plan.dtype])
    )
    session = open_session(path, plan.request.provider)
    found = []
    for setup, truth, native in zip(setups, truths, natives, strict=True):
        ours = session.run(setup.feeds)["image"]
        found.append(_difference(plan, setup.case, ours, native, truth))
        count()
    return Proof(tuple(found), session.provider, digests(path))


def precisions(dtype: torch.dtype) -> tuple[torch.dtype, torch.dtype]:
    """The truth's and the file's own."""
    return (torch.float64 if dtype == torch.float32 else torch.float32), dtype


def images(plan: PicturePlan, setups: Sequence[Setup], dtype: torch.dtype, count: Any) -> Any:
    """The pipeline's, in a dtype: (B, 3, height, width) from 0 to 1."""
    found = []
    pipeline = load_pipeline(plan, dtype)
    for setup in setups:
        give_ids(pipeline, plan, setup.ids)
        found.append(run_pipeline(pipeline, setup, dtype))
        count()
    return found


def run_pipeline(pipeline: Any, setup: Setup, dtype: torch.dtype, **more: Any) -> Array:
    """Calls it on a case.

    Args:
        pipeline: Of ``load_pipeline``.
        setup: The case.
        dtype: Of the latents.
        more: Further arguments, which come first.
    """
    case = setup.case
    asked: dict[str, Any] = {**prompts(case.batch), "output_type": "pt", **more}
    if not case.negative and pipeline.config.get("force_zeros_for_empty_prompt"):
        asked["negative_prompt"] = None
    height, width = setup.size
    with torch.inference_mode(), drawing(pipeline.scheduler, setup.noise):
        result = pipeline(
            **asked,
            height=height,
            width=width,
            latents=setup.latents.to(dtype),
            num_inference_steps=case.steps,
            guidance_scale=case.guidance,
        )
    image: Array = result.images.double().numpy()
    return image


def _difference(
    plan: PicturePlan, case: Case, ours: Array, native: Array, truth: Array
) -> Difference:
    if ours.shape != truth.shape:
        return Difference(case, None, float("inf"))
    floor = measure_floor(ours, native, truth, ROUNDINGS[plan.dtype])
    return Difference(case, floor, float(np.abs(ours - native).max()))


def make_setup(plan: PicturePlan, case: Case) -> Setup:
    """Seeded token ids, noise and sizes."""
    random = torch.Generator().manual_seed(2_000 + case.seed)
    each = factor(plan.layout.decoder.config)
    multiple = max(plan.source.size_multiple, -(-8 // each))  # the pipelines want eighths
    height, width = (-(-size // multiple) * multiple for size in (case.height, case.width))
    ids = tuple(_ids(part, case.batch, random) for part in plan.layout.encoders)
    shape = (case.batch, int(plan.source.config["out_channels"]), height, width)
    mine = plan.family.scheduler
    scheduler = load_scheduler(
        type(mine).__name__,
        case.steps,
        class_name=plan.source.class_name,
        config={k: v for k, v in mine.config.items() if not k.startswith("_")},
    )
    noise = torch.randn((len(scheduler.timesteps), *shape), generator=random)
    latents = torch.randn(shape, generator=random)
    return Setup(case, ids, latents, noise, (height * each, width * each))


def _ids(part: Part, batch: int, random: torch.Generator) -> Ids:
    """Start, some words, end to the end; no word is the end."""
    config = part.config
    count, tokens = int(config["vocab_size"]), int(config["max_position_embeddings"])
    end = int(config.get("eos_token_id", 2))
    end = count - 1 if end == 2 or end >= count else end  # 2: older configs, read by argmax
    found = []
    for words in (max(1, tokens // 2 - 2), max(1, tokens // 4 - 1)):
        rows = torch.full((batch, tokens), end)
        drawn = torch.randint(0, count - 1, (batch, words), generator=random)
        rows[:, 0] = min(int(config.get("bos_token_id", 0)), count - 1)
        rows[:, 1 : 1 + words] = drawn + (drawn >= end)
        found.append(rows)
    return Ids(*found)
