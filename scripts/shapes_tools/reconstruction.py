"""How well an autoencoder of shapes gives back what it was shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from shapes_tools.rule import judge
from shapes_tools.scenes import Scene, draw, masks

_TOGETHER = 50  # images passed through at once


@dataclass(frozen=True)
class Reconstruction:
    """Errors of the pixels of many images, 0 to 255, means of absolute differences.

    Attributes:
        things: Where things are.
        elsewhere: Everywhere else.
        right: Share of the images that the pixel rule still finds right.
    """

    things: float
    elsewhere: float
    right: float

    def __str__(self) -> str:
        return (
            f"things {self.things:.2f} of 255, elsewhere {self.elsewhere:.2f}, "
            f"right {self.right:.1%}"
        )


@torch.inference_mode()
def reconstruct(vae: Any, scenes: Sequence[Scene]) -> Reconstruction:
    """Draws scenes and passes them through.

    Args:
        vae: An ``AutoencoderKL`` of 48x48 pixels; the means of its latents are decoded.
        scenes: What to draw.
    """
    inside: list[NDArray[np.float64]] = []
    outside: list[NDArray[np.float64]] = []
    right = 0
    for start in range(0, len(scenes), _TOGETHER):
        some = scenes[start : start + _TOGETHER]
        drawn = np.stack([draw(scene) for scene in some])
        batch = torch.from_numpy(drawn).permute(0, 3, 1, 2).float() / 127.5 - 1
        decoded = vae.decode(vae.encode(batch).latent_dist.mode()).sample
        shown = ((decoded / 2 + 0.5).clamp(0, 1) * 255).round().permute(0, 2, 3, 1)
        images = shown.to(torch.uint8).numpy()
        for scene, before, after in zip(some, drawn, images, strict=True):
            apart, thing = np.abs(after.astype(float) - before), masks(scene).any(0)
            inside.append(apart[thing].mean(-1))
            outside.append(apart[~thing].mean(-1))
            right += judge(scene, after).right
    things, elsewhere = (float(np.concatenate(part).mean()) for part in (inside, outside))
    return Reconstruction(things, elsewhere, right / len(scenes))
