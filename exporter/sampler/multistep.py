"""What DPM-Solver and UniPC share: integer timesteps, noise levels, and lambda."""

from __future__ import annotations

import numpy as np

from exporter.sampler import levels, spacing
from exporter.sampler.expr import DOUBLE, FLOAT, INT64, Expr, constant, op
from exporter.sampler.family import Family, sqrt, squared
from exporter.sampler.scope import about


def spaced(family: Family, steps: Expr, *, rounded: bool = True) -> dict[str, Expr]:
    """``timestep``, ``sigma`` and ``sigma_next`` (N,), float32.

    Args:
        family: With ``use_karras_sigmas`` and the noise schedule in its config.
        steps: Inference steps.
        rounded: Whether Karras' timesteps are rounded, not cut off.
    """
    timestep = _timesteps(family, steps)
    if family.config.get("use_karras_sigmas"):
        low, high = (constant(float(family.train_sigmas[i]), DOUBLE) for i in (0, -1))
        with about(family.cite("_convert_to_karras")):
            sigmas = spacing.karras(low, high, steps)
        with about(family.cite("_sigma_to_t")):
            found = spacing.sigma_to_t(sigmas, np.log(family.train_sigmas))
            timestep = (op("Round", found) if rounded else found).to(INT64)
    else:
        sigmas = levels.sigmas_at(family, timestep)
    with about(family.cite("set_timesteps", "sigma_last")):
        zero = family.config["final_sigmas_type"] == "zero"
        table = levels.pairs(sigmas, 0.0 if zero else float(family.train_sigmas[0]))
    return {"timestep": timestep.to(FLOAT), **table}


def _timesteps(family: Family, steps: Expr) -> Expr:
    total = family.train_steps
    kind = family.config["timestep_spacing"]
    with about(family.cite("set_timesteps", "timestep_spacing ==")):
        if kind == "linspace":
            both = op("Round", spacing.linspace(float(total - 1), steps + 1, "N+1"))
            place = steps - spacing.count_up(steps)
            return op("Gather", both, place, shape=place.shape).to(INT64)
        if kind == "leading":
            place = steps - spacing.count_up(steps)
            return place * (total // (steps + 1)) + int(family.config["steps_offset"])
        down, _ = spacing.downwards(float(total), float(total) / steps.to(DOUBLE))
        return op("Round", down).to(INT64) - 1


def alpha_sigma(level: Expr) -> tuple[Expr, Expr]:
    """``_sigma_to_alpha_sigma_t``: share of the signal and of the noise."""
    alpha = 1.0 / sqrt(squared(level) + 1.0)
    return alpha, level * alpha


def log_ratio(alpha: Expr, sigma: Expr) -> Expr:
    """Lambda, half the logarithm of the signal to noise ratio."""
    return op("Log", alpha) - op("Log", sigma)


def before(table: Expr, places: int) -> Expr:
    """The table moved on by ``places``, its first element repeated before it."""
    index = spacing.count_up(spacing.length(table))
    moved = op("Max", index - places, constant(0, INT64))
    return op("Gather", table, moved, shape=table.shape)
