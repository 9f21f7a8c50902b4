"""Previews: latents through a VAE folder into small RGB images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from exporter.errors import SourceError, UsageError
from exporter.runtime.session import Array

LARGEST = 256  # pixels along the longer side of a preview


class Decoder:
    """An ``AutoencoderKL`` in float32 on the CPU.

    Args:
        folder: A VAE's folder or a pipeline's with ``vae/``.
        channels: Channels of the latents.

    Raises:
        SourceError: No VAE there, or not one that diffusers can load.
        UsageError: A VAE for latents of another depth.
    """

    def __init__(self, folder: Path, channels: int) -> None:
        import diffusers  # takes seconds

        inner = folder / "vae"
        place = inner if (inner / "config.json").is_file() else folder
        if not (place / "config.json").is_file():
            raise SourceError(f"no config.json in {inner} or {folder}", do="see --vae")
        try:
            vae: Any = diffusers.AutoencoderKL.from_pretrained(
                place, local_files_only=True, low_cpu_mem_usage=False
            )
        except Exception as error:  # diffusers raises whatever its parts raise
            reason = " ".join(str(error).split())[:200]
            raise SourceError(f"{place} is not an AutoencoderKL: {reason}") from error
        if vae.config.latent_channels != channels:
            raise UsageError(
                f"{place} decodes latents of {vae.config.latent_channels} channels",
                f"{channels}, the UNet's",
            )
        self._vae = vae.float().eval()
        self._scale = 2 ** (len(vae.config.block_out_channels) - 1)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the preview of latents of a size."""
        whole = (height * self._scale, width * self._scale)
        shrink = max(1.0, max(whole) / LARGEST)
        return max(1, round(whole[0] / shrink)), max(1, round(whole[1] / shrink))

    def __call__(self, latents: torch.Tensor) -> Array:
        """(1, C, H, W) latents to (height, width, 3) uint8."""
        config = self._vae.config
        unscaled = latents.float() / config.scaling_factor + (config.shift_factor or 0.0)
        with torch.inference_mode():
            image = self._vae.decode(unscaled, return_dict=False)[0]
            size = self.size(*latents.shape[-2:])
            image = torch.nn.functional.interpolate(image, size, mode="area")
        pixels = ((image[0] / 2 + 0.5).clamp(0, 1).nan_to_num(0) * 255).round()
        array: Array = pixels.permute(1, 2, 0).to(torch.uint8).numpy()
        return array
