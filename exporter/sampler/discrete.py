"""Integer timesteps as DDIM, DDPM and PNDM space them."""

from __future__ import annotations

from exporter.sampler import spacing
from exporter.sampler.expr import DOUBLE, INT64, Expr, op
from exporter.sampler.family import Family


def falling(family: Family, steps: Expr) -> Expr:
    """Training timesteps in the order of sampling, the largest first, int64 (N,)."""
    return _spaced(family, steps).to(INT64).named("timesteps")


def _spaced(family: Family, steps: Expr) -> Expr:
    total = family.train_steps
    kind = family.config["timestep_spacing"]
    if kind == "linspace":
        return spacing.turned(op("Round", spacing.linspace(float(total - 1), steps)))
    if kind == "leading":
        place = steps - 1 - spacing.count_up(steps)
        return place * (total // steps) + int(family.config["steps_offset"])
    down, _ = spacing.downwards(float(total), float(total) / steps.to(DOUBLE))
    return op("Round", down) - 1.0
