"""What one recording will do: the request, and everything that follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from exporter.conditions.controlnet import is_control
from exporter.conditions.ip_adapter import is_image_prompt
from exporter.conditions.residuals import is_residual
from exporter.denoising.conditions import AESTHETIC, VAE_SCALE, guidance_embedding, time_ids
from exporter.denoising.loop import Loop
from exporter.denoising.schedulers import load_scheduler, pipeline_config
from exporter.errors import TargetError, UsageError
from exporter.inputs import with_halves
from exporter.sample.experiments.wish import Wish
from exporter.sample.model import Model
from exporter.sample.prompts import Prompt, Wanted, encoded, seeded, stored
from exporter.types import Provider

MOST_PLACES = 1024
"""Places of the largest self-attention kept: 2 MB in float16 for a layer, row and step."""

MapDtype = Literal["none", "float16", "float32"]


@dataclass(frozen=True)
class RecordRequest:
    """All that one recording was asked to do; see ``python -m exporter.sample -h``."""

    model: Path
    target: Path
    steps: int = 20
    scheduler: str | None = None
    prediction: str | None = None
    guidance: float = 7.5
    seed: int = 0
    size: tuple[int, int] | None = None
    prompt: str = ""
    negative: str = ""
    pipeline: Path | None = None
    text_encoder: Path | None = None
    embeddings: Path | None = None
    vae: Path | None = None
    image: Path | None = None
    maps: MapDtype = "float16"
    heads: bool = False
    self_places: int = 0
    compare: bool = False
    provider: Provider = "auto"
    wishes: tuple[Wish, ...] = ()


@dataclass(frozen=True)
class Plan:
    """One recording, everything decided.

    Attributes:
        model: What runs.
        scheduler: With timesteps set.
        rows: ``("uncond", "cond")`` under guidance, else ``("cond",)``.
        guidance: Guidance scale.
        height: Of the latents.
        width: Of the latents.
        prompt: The text.
        seed: Of the first latents and of the scheduler's noise.
    """

    model: Model
    scheduler: Any
    rows: tuple[str, ...]
    guidance: float
    height: int
    width: int
    prompt: Prompt
    seed: int

    @property
    def loop(self) -> Loop:
        """The denoising loop of one image."""
        return Loop(
            self.scheduler,
            (1, self.model.latent_channels, self.height, self.width),
            self.guidance if len(self.rows) == 2 else None,
            self.conditions(),
            self._extra_channels(),
            self.seed,
        )

    def conditions(self) -> dict[str, torch.Tensor]:
        """Every input that stays the same from step to step, by name."""
        made: dict[str, torch.Tensor] = {}
        if self.prompt.states is not None:
            made["encoder_hidden_states"] = self.prompt.states
        if self.prompt.pooled is not None:
            made["text_embeds"] = self.prompt.pooled
        for name in ("time_ids", "timestep_cond", "class_labels"):
            if name in self.model.inputs:
                made[name] = torch.cat([self._condition(name, row) for row in self.rows])
        return {**made, **self._residuals_off()}

    def _residuals_off(self) -> dict[str, torch.Tensor]:
        """Zeros for what a ControlNet or an adapter adds, or its strength: as without one."""
        sizes = with_halves({"B": len(self.rows), "H": self.height, "W": self.width})
        return {  # the images of an IP-Adapter, and their patches, are one
            name: torch.zeros([d if isinstance(d, int) else sizes.get(d, 1) for d in shape])
            for name, shape in self.model.inputs.items()
            if is_residual(name) or is_control(name) or is_image_prompt(name)
        }

    def _condition(self, name: str, row: str) -> torch.Tensor:
        width = self.model.width(name)
        if name == "time_ids":
            size = float(self.height * VAE_SCALE), float(self.width * VAE_SCALE)
            return time_ids(int(width or 0), size, score=AESTHETIC[row])[None]
        if name == "timestep_cond":
            return guidance_embedding(torch.tensor([self.guidance]), int(width or 0))
        return torch.zeros(1) if width is None else torch.zeros(1, width)  # class 0

    def _extra_channels(self) -> torch.Tensor | None:
        """Inpainting: everything masked, nothing known; other conditions: empty images."""
        missing = self.model.channels - self.model.latent_channels
        if missing <= 0:
            return None
        extra = torch.zeros(1, missing, self.height, self.width)
        if missing == self.model.latent_channels + 1:
            extra[:, 0] = 1.0
        return extra


def make_plan(request: RecordRequest, model: Model) -> Plan:
    """Decides everything that a run needs, and refuses what cannot be, before any work.

    Raises:
        UsageError: Arguments that do not fit the model or one another.
        SourceError: A folder without what it should hold.
    """
    _guard(request)
    scheduler = _scheduler(request, model)
    text = model.width("encoder_hidden_states")
    guided = request.guidance > 1 and text is not None and "timestep_cond" not in model.inputs
    rows = ("uncond", "cond") if guided else ("cond",)
    prompt = _prompt(request, Wanted(text, model.width("text_embeds"), rows))
    height, width = model.size(request.size)
    return Plan(model, scheduler, rows, request.guidance, height, width, prompt, request.seed)


def _scheduler(request: RecordRequest, model: Model) -> Any:
    if model.stage is not None:
        name, config = model.stage.scheduler, model.stage.config
        return load_scheduler(name, request.steps, class_name=model.class_name, config=config)
    return load_scheduler(
        request.scheduler or "ddim",
        request.steps,
        class_name=model.class_name,
        config=pipeline_config(request.pipeline),
        prediction=request.prediction or model.prediction,
    )


def _guard(request: RecordRequest) -> None:
    if request.steps < 1:
        raise UsageError(f"--steps {request.steps}", "1 or more")
    if request.seed < 0:
        raise UsageError(f"--seed {request.seed}", "0 or more")
    if request.heads and request.maps == "none":
        raise UsageError("--heads with --maps none", "maps to be kept of each head")
    if request.self_places and request.maps == "none":
        raise UsageError("--self with --maps none", "maps to be kept of self-attentions")
    if request.self_places < 0 or request.self_places > MOST_PLACES:
        raise UsageError(f"--self {request.self_places}", f"1 to {MOST_PLACES}")
    if request.text_encoder and request.embeddings:
        raise UsageError("--text-encoder and --embeddings together", "one of them")
    if (request.prompt or request.negative) and not request.text_encoder:
        raise UsageError(
            "a prompt without --pipeline or --text-encoder",
            "the folder of the pipeline that reads it",
        )
    if request.image and not request.vae:
        raise UsageError(f"--image {request.image} without --vae", "the VAE that decodes it")
    if request.image and (request.image.suffix != ".png" or not request.image.parent.is_dir()):
        raise TargetError(f"--image {request.image}", "a name in .png in a folder that exists")


def _prompt(request: RecordRequest, wanted: Wanted) -> Prompt:
    if request.text_encoder:
        return encoded(wanted, request.text_encoder, request.prompt, request.negative)
    if request.embeddings:
        return stored(wanted, request.embeddings)
    return seeded(wanted, request.seed)
