"""Noise levels (sigmas) over the steps, as the Euler family spaces them."""

from __future__ import annotations

from exporter.sampler import spacing
from exporter.sampler.expr import DOUBLE, FLOAT, INT64, Expr, constant, op
from exporter.sampler.family import Family
from exporter.sampler.scope import about


def timesteps(family: Family, steps: Expr) -> Expr:
    """Timesteps in the order of sampling, float64 with float32's values (N,)."""
    total = family.train_steps
    kind = family.config["timestep_spacing"]
    with about(family.cite("set_timesteps", "timestep_spacing ==")):
        if kind == "linspace":
            spaced = spacing.turned(spacing.linspace(float(total - 1), steps))
        elif kind == "leading":
            place = steps - 1 - spacing.count_up(steps)
            spaced = place * (total // steps) + int(family.config["steps_offset"])
        else:
            down, _ = spacing.downwards(float(total), float(total) / steps.to(DOUBLE))
            spaced = op("Round", down) - 1.0
        return spaced.to(FLOAT).to(DOUBLE)


def sigmas_at(family: Family, timestep: Expr) -> Expr:
    """The training sigmas at fractional timesteps, float64."""
    with about(family.cite("set_timesteps", "np.interp")):
        return spacing.interpolate(timestep, family.train_sigmas, "train_sigmas")


def initial(family: Family, largest: Expr) -> Expr:
    """``init_noise_sigma`` from the largest sigma, a scalar."""
    if family.config["timestep_spacing"] in ("linspace", "trailing"):
        return largest
    return op("Sqrt", largest * largest + 1.0)


def pairs(sigmas: Expr, final: float) -> dict[str, Expr]:
    """``sigma`` of each step and ``sigma_next`` of the one after it, float32 (N,)."""
    sigma = sigmas.to(FLOAT).named("sigmas")
    after = spacing.appended(sigma, constant(final, FLOAT), "N+1")
    places = spacing.count_up(spacing.length(sigma)) + constant(1, INT64)
    return {"sigma": sigma, "sigma_next": op("Gather", after, places, shape=sigma.shape)}
