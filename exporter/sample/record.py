"""One sampled image, watched: plan, instrument, run, write."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from PIL import Image

from exporter.denoising.schedulers import tells_clean
from exporter.disk import replacing
from exporter.errors import UsageError
from exporter.runtime.memory import peak_memory
from exporter.runtime.providers import choose
from exporter.runtime.session import Array
from exporter.sample.decode import Decoder
from exporter.sample.experiments.plan import Ground, plan_experiment
from exporter.sample.experiments.wish import Wish
from exporter.sample.follow import OnGrowth, unfollowed
from exporter.sample.instrument import Instrumented, instrument
from exporter.sample.layout import describe_points, describe_run, places, sampling_tensors
from exporter.sample.model import read_model
from exporter.sample.pipeline import completed
from exporter.sample.plan import RecordRequest, make_plan
from exporter.sample.recording import Recording
from exporter.sample.run import Run, median
from exporter.sample.stage import Stage
from exporter.sample.staged import StagedRun
from exporter.types import OnProgress, quiet


@dataclass(frozen=True)
class RecordReport:
    """What one recording did.

    Attributes:
        target: The file written.
        nbytes: Its size.
        steps: UNet evaluations.
        rows: Rows of each evaluation.
        prompt: Where the text came from, in one sentence.
        provider: Where ONNX Runtime ran.
        points: How many of each kind were measured.
        wishes: What was changed.
        seconds_step: Median seconds of one watched evaluation, without the first.
        seconds_plain: The same of the file as it is; None unless compared.
        largest_difference: Largest difference in ``out_sample`` to the file as it is, over all
            steps; 0 says every bit was equal. None unless compared.
        peak_memory: Largest resident size of the process in bytes.
        seconds: Wall time in all.
    """

    target: Path
    nbytes: int
    steps: int
    rows: tuple[str, ...]
    prompt: str
    provider: str
    points: Mapping[str, int]
    wishes: tuple[Wish, ...]
    seconds_step: float
    seconds_plain: float | None
    largest_difference: float | None
    peak_memory: int
    seconds: float

    @property
    def overhead(self) -> float | None:
        """Share of time that watching added, e.g. 0.2; None unless compared."""
        if self.seconds_plain is None:
            return None
        return self.seconds_step / self.seconds_plain - 1


def record(
    request: RecordRequest,
    on_progress: OnProgress = quiet,
    on_growth: OnGrowth = unfollowed,
) -> RecordReport:
    """Samples one image with a file, and writes down what happens inside.

    Args:
        request: What to run and where to write.
        on_progress: Told of every stage.
        on_growth: Told how far the recording can be read.

    Raises:
        UsageError: Arguments that do not fit the model or one another, or an experiment on
            what the model or the prompt does not have.
        SourceError: A folder without what it should hold.
        ProviderError: A provider that ONNX Runtime cannot use.
        TargetError: The recording cannot be written.
    """
    start = time.perf_counter()
    model = read_model(request.model)
    if model.stage:
        _require_whole(request, model.stage)
    request = completed(request, model)
    plan = make_plan(request, model)
    decoder = Decoder(request.vae, model.latent_channels) if request.vae else None
    ground = Ground(plan.prompt, plan.rows, plan.loop.evaluations)
    watched = instrument(
        model.path,
        maps=request.maps != "none",
        heads=request.heads,
        selves=lambda attention: places(plan, attention) <= request.self_places,
        planned=partial(plan_experiment, request.wishes, ground),
    )
    if request.self_places and not watched.selves:
        least = min((places(plan, one) for one in watched.points.selves), default=0)
        told = f"{least} or more" if least else "a model with self-attentions"
        raise UsageError(f"--self {request.self_places}", told)
    tensors = sampling_tensors(
        plan,
        watched,
        torch.float16 if request.maps == "float16" else torch.float32,
        preview=decoder.size(plan.height, plan.width) if decoder else None,
        clean=model.stage is None and tells_clean(plan.scheduler),
        compare=request.compare,
    )
    metadata = {
        **describe_run(
            plan, request.scheduler or "ddim", request.steps, choose(request.provider)[0]
        ),
        **describe_points(watched.points),
    }
    if watched.selves:
        metadata["selves"] = [asdict(attention) for attention in watched.selves]
    if watched.experiment:
        metadata["experiments"] = watched.experiment.to_json()
    with Recording(request.target, tensors, metadata) as recording:
        kind = StagedRun if model.stage else Run
        run = kind(plan, recording, request.provider, on_progress, on_growth)
        plain = run.plain(_unmeasured(watched, model.path)) if request.compare else None
        seen = run.watched(watched, decoder, compare=request.compare)
        if request.image and decoder:
            last = torch.from_numpy(recording.get("latents", plan.loop.evaluations).copy())
            _save_image(decoder(last[None]), request.image)
    on_growth(request.target, plan.loop.evaluations, plan.loop.evaluations)
    return RecordReport(
        target=request.target,
        nbytes=recording.nbytes,
        steps=plan.loop.evaluations,
        rows=plan.rows,
        prompt=plan.prompt.note,
        provider=seen.provider,
        points={kind: len(found) for kind, found in describe_points(watched.points).items()},
        wishes=request.wishes,
        seconds_step=median(seen.seconds),
        seconds_plain=median(plain.seconds) if plain else None,
        largest_difference=max(seen.differences) if plain else None,
        peak_memory=peak_memory(),
        seconds=time.perf_counter() - start,
    )


def _require_whole(request: RecordRequest, stage: Stage) -> None:
    """Refuses what a loop that is part of the file cannot do."""
    if request.scheduler or request.prediction:
        raise UsageError(
            f"--scheduler or --prediction with {request.model.name}",
            f"its own, {stage.scheduler}",
        )
    if request.wishes:
        raise UsageError(
            f"an experiment on {request.model.name}, a sampler's file", "the UNet's file"
        )


def _unmeasured(watched: Instrumented, path: Path) -> Instrumented | None:
    """The copy of an experiment without measurements; None where nothing is changed."""
    if not watched.experiment:
        return None
    return instrument(path, measured="nothing", planned=lambda _: watched.experiment)


def _save_image(pixels: Array, file: Path) -> None:
    """Writes (height, width, 3) uint8 as PNG."""
    with replacing(file) as temporary:
        Image.fromarray(pixels).save(temporary, "PNG")
