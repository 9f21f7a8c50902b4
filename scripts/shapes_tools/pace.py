"""How fast training learns at a step."""

from __future__ import annotations

import math


def pace(step: int, steps: int, warm_up: int) -> float:
    """The part of the learning rate: up linearly, then along a cosine to zero.

    Args:
        step: From 0.
        steps: Of the whole training; later ones have none.
        warm_up: Steps of the rise.
    """
    done = min(step / steps, 1.0)
    return min((step + 1) / warm_up, 0.5 * (1 + math.cos(math.pi * done)))
