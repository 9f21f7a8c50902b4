"""The decoder of an ``AutoencoderKL``: latents in, pixels from -1 to 1 out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from exporter.errors import ConfigError
from exporter.text_to_image.part import Part, open_weights, read_config
from exporter.types import InputSpec
from exporter.weights.blueprint import Blueprint
from exporter.weights.checkpoint import STEM, validate
from exporter.weights.unet import EmptyParameters

DOC = """\
The decoder of the VAE: latents, divided by its `scaling_factor`, become pixels from -1 to 1,
{factor} times as high and wide."""


class _Decoder(torch.nn.Module):
    def __init__(self, vae: torch.nn.Module) -> None:
        super().__init__()
        self.traced = vae

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        (latents,) = tensors
        vae: Any = self.traced
        image: torch.Tensor = vae.decode(latents, return_dict=False)[0]
        return image


def image_decoder(folder: Path, *, upcast: bool, variant: str | None) -> Part:
    """Understands a VAE's folder.

    Args:
        folder: Holds ``config.json`` and weights.
        upcast: Whether the pipeline obeys ``force_upcast``.
        variant: Of the weights.

    Raises:
        ConfigError: Not an ``AutoencoderKL``.
        CheckpointError: No weights, or not those of the config.
    """
    config = read_config(folder)
    if config.get("_class_name") != "AutoencoderKL":
        raise ConfigError(
            f"{folder.name} is a {config.get('_class_name', 'model without a class')}",
            "AutoencoderKL",
        )
    blueprint = Blueprint.of(_build(config))
    weights = open_weights(folder, STEM, variant).with_modern_names(blueprint)
    validate(weights, blueprint)
    full = blueprint.config
    return Part(
        name=folder.name,
        function="ImageDecoder",
        class_name="AutoencoderKL",
        config=full,
        weights=weights,
        build=lambda: _Decoder(_build(config)),
        inputs=(InputSpec("latents", ("B", int(full["latent_channels"]), "H", "W")),),
        outputs=("pixels",),
        doc=DOC.format(factor=factor(full)),
        role="image_decoder",
        upcast=upcast and bool(full["force_upcast"]),
    )


def factor(config: Any) -> int:
    """How many pixels lie along one latent."""
    return int(2 ** (len(config["block_out_channels"]) - 1))


def _build(config: dict[str, Any]) -> torch.nn.Module:
    import diffusers  # takes seconds

    try:
        with EmptyParameters("meta"):
            vae: torch.nn.Module = diffusers.AutoencoderKL.from_config(config)
    except Exception as error:  # whatever a constructor does with values it never expected
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"diffusers cannot build AutoencoderKL: {reason}") from error
    return vae.eval()
