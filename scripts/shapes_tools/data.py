"""A pool of encoded scenes: what the UNet is trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.functional import avg_pool2d

from shapes_tools.scenes import Scene, draw, masks
from shapes_tools.text import LENGTH, encode, things_of_tokens

_TOGETHER = 64  # scenes encoded at once


@dataclass(frozen=True)
class Pool:
    """Scenes as tensors.

    Attributes:
        latents: (N, 4, 12, 12) float32, scaled to a standard deviation of one.
        ids: (N, 16) int64 token ids.
        things: (N, 16) int64; the thing that a token describes, or -1.
        masks: (N, 2, 12, 12) float32; the part of each place that a thing covers.
    """

    latents: torch.Tensor
    ids: torch.Tensor
    things: torch.Tensor
    masks: torch.Tensor

    def __len__(self) -> int:
        return len(self.ids)


def make_pool(
    chosen: Sequence[Scene], vae: Any, tokenizer: Any, report: Callable[[int], None]
) -> Pool:
    """Draws and encodes scenes.

    Args:
        chosen: The scenes.
        vae: The trained ``AutoencoderKL``.
        tokenizer: Of the captions.
        report: Told how many are encoded.
    """
    latents, covered = [], []
    for start in range(0, len(chosen), _TOGETHER):
        some = chosen[start : start + _TOGETHER]
        pixels = torch.from_numpy(np.stack([draw(scene) for scene in some]))
        images = pixels.permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.inference_mode():
            encoded = vae.encode(images).latent_dist.mode()
        latents.append(encoded * vae.config.scaling_factor)
        covered.append(torch.stack([_covered(scene) for scene in some]))
        report(start + len(some))
    return Pool(
        torch.cat(latents).clone(),
        encode(tokenizer, [scene.caption for scene in chosen]),
        torch.tensor([things_of_tokens(scene) for scene in chosen]).reshape(-1, LENGTH),
        torch.cat(covered),
    )


def _covered(scene: Scene) -> torch.Tensor:
    """(2, 12, 12); a thing that is not there covers nothing."""
    whole = torch.from_numpy(masks(scene)).float()
    parts = avg_pool2d(whole, 4)
    return torch.cat([parts, torch.zeros(2 - len(parts), *parts.shape[1:])])
