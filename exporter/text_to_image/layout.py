"""A pipeline's folder in diffusers' layout: which parts it has, and whether they fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from exporter.errors import ConfigError, SourceError
from exporter.json_text import json_object
from exporter.text_to_image.decoder import image_decoder
from exporter.text_to_image.encoder import text_encoder
from exporter.text_to_image.part import Part
from exporter.types import Source

Kind = Literal["StableDiffusionPipeline", "StableDiffusionXLPipeline"]
KINDS: tuple[Kind, ...] = ("StableDiffusionPipeline", "StableDiffusionXLPipeline")


@dataclass(frozen=True)
class Layout:
    """The parts of a pipeline beside its UNet.

    Attributes:
        folder: The pipeline's.
        kind: Its class.
        encoders: One text encoder, or SDXL's two.
        decoder: Of the VAE.
        zeroed: Whether no negative prompt means zeros (``force_zeros_for_empty_prompt``).
        scheduler: ``_class_name`` of its scheduler.
        config: The scheduler's, without private keys.
    """

    folder: Path
    kind: Kind
    encoders: tuple[Part, ...]
    decoder: Part
    zeroed: bool
    scheduler: str
    config: Mapping[str, Any]

    @property
    def parts(self) -> tuple[Part, ...]:
        """All that are traced anew, in the order of data."""
        return (*self.encoders, self.decoder)

    @property
    def xl(self) -> bool:
        """Whether it is SDXL's."""
        return self.kind == "StableDiffusionXLPipeline"


def open_layout(folder: Path, variant: str | None = None) -> Layout:
    """Reads configs and headers.

    Raises:
        SourceError: No pipeline there, or one of another kind.
        ConfigError: A part that is not what the pipeline's class takes.
        CheckpointError: A part without weights.
    """
    file = folder / "model_index.json"
    if not file.is_file():
        raise SourceError(f"no model_index.json in {folder}", "a diffusers pipeline's folder")
    index = json_object(file.read_bytes(), str(file))
    kind = index.get("_class_name")
    if kind not in KINDS:
        raise SourceError(f"{folder.name} is a {kind}", " or ".join(KINDS))
    xl = kind == KINDS[1]
    encoders = [
        text_encoder(
            folder / "text_encoder",
            "TextEncoder",
            "penultimate" if xl else "last",
            pooled=False,
            variant=variant,
        )
    ]
    if xl:
        encoders.append(
            text_encoder(
                folder / "text_encoder_2",
                "TextEncoder2",
                "penultimate",
                pooled=True,
                variant=variant,
            )
        )
    scheduler, config = _scheduler(folder)
    return Layout(
        folder=folder,
        kind=kind,
        encoders=tuple(encoders),
        decoder=image_decoder(folder / "vae", upcast=xl, variant=variant),
        zeroed=xl and bool(index.get("force_zeros_for_empty_prompt", True)),
        scheduler=scheduler,
        config=config,
    )


def require_fit(layout: Layout, source: Source) -> None:
    """Refuses parts that do not fit the UNet.

    Raises:
        ConfigError: Widths or channels that differ.
    """
    shapes = {spec.name: spec.shape for spec in source.inputs}
    widths = [int(part.config["hidden_size"]) for part in layout.encoders]
    text = shapes.get("encoder_hidden_states", ("B", "S", 0))[2]
    if sum(widths) != text:
        raise ConfigError(
            f"the text encoders of {layout.folder.name} give {sum(widths)} channels",
            f"{text}, which its UNet reads",
        )
    pooled = shapes.get("text_embeds")
    projected = layout.encoders[-1].config.get("projection_dim")
    if layout.xl and (pooled is None or pooled[1] != projected):
        raise ConfigError(
            f"text_encoder_2 of {layout.folder.name} pools {projected} channels",
            f"{pooled[1] if pooled else 'none'}, which its UNet reads",
        )
    latents = layout.decoder.config["latent_channels"]
    channels = source.config["out_channels"]
    if latents != channels or source.config["in_channels"] != channels:
        raise ConfigError(
            f"the UNet of {layout.folder.name} takes {source.config['in_channels']} channels "
            f"and gives {channels}, its VAE decodes {latents}",
            "one number, as for text to image",
        )


def _scheduler(folder: Path) -> tuple[str, Mapping[str, Any]]:
    file = folder / "scheduler" / "scheduler_config.json"
    if not file.is_file():
        raise ConfigError(f"no {file}", "a pipeline in diffusers' layout")
    found = json_object(file.read_bytes(), str(file))
    name = found.get("_class_name")
    if not isinstance(name, str):
        raise ConfigError(f"{file} has _class_name {name}", "a diffusers scheduler's")
    return name, {k: v for k, v in found.items() if not k.startswith("_")}
