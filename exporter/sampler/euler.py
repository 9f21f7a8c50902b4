"""Euler's method, plain and ancestral (https://arxiv.org/abs/2206.00364, algorithm 2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from exporter.sampler import levels, spacing
from exporter.sampler.expr import DOUBLE, FLOAT, Expr, constant, op
from exporter.sampler.family import ANY, NOISE_SCHEDULE, Family, Takes, sqrt, squared
from exporter.sampler.scope import about


class Euler(Family):
    """``EulerDiscreteScheduler`` without churn, as pipelines call it."""

    takes: ClassVar[Takes] = {
        **NOISE_SCHEDULE,
        "interpolation_type": ("linear",),
        "use_karras_sigmas": (False, True, None),
        "use_exponential_sigmas": (False, None),
        "use_beta_sigmas": (False, None),
        "sigma_min": ANY,
        "sigma_max": ANY,
        "timestep_type": ("discrete",),
        "final_sigmas_type": ("zero", "sigma_min"),
    }
    reads: ClassVar[tuple[str, ...]] = ("sigma", "sigma_next")
    formula = "x₀ = x − σ·ε;  x' = x + (x − x₀)/σ · (σ' − σ)"

    def schedule(self, steps: Expr) -> dict[str, Expr]:
        """Timestep, its sigma and the next one."""
        timestep = levels.timesteps(self, steps)
        sigmas = levels.sigmas_at(self, timestep)
        if self.config.get("use_karras_sigmas"):
            with about(self.cite("_convert_to_karras")):
                low = self._limit("sigma_min", spacing.last(sigmas))
                high = self._limit("sigma_max", spacing.first(sigmas))
                sigmas = spacing.karras(low, high, steps)
            with about(self.cite("_sigma_to_t")):
                timestep = spacing.sigma_to_t(sigmas, np.log(self.train_sigmas))
        with about(self.cite("set_timesteps", "np.concatenate([sigmas")):
            table = levels.pairs(sigmas, self._final)
        with about(self.cite("init_noise_sigma", "max_sigma")):
            largest = op("ReduceMax", table["sigma"], attributes={"keepdims": 0}, shape=())
            first = levels.initial(self, largest)
        return {"timestep": timestep.to(FLOAT), **table, "init_noise_sigma": first}

    @property
    def _final(self) -> float:
        if self.config.get("final_sigmas_type") == "sigma_min":
            return float(self.train_sigmas[0])
        return 0.0

    def _limit(self, key: str, computed: Expr) -> Expr:
        given = self.config.get(key)
        return computed if given is None else constant(float(given), DOUBLE)

    def scale(self, sample: Expr, row: Mapping[str, Expr]) -> Expr:
        """What the UNet was trained to see: unit variance."""
        with about(self.cite("scale_model_input", "sample = sample /")):
            return sample / sqrt(squared(row["sigma"]) + 1.0)

    def _clean(self, model_output: Expr, sample: Expr, sigma: Expr) -> Expr:
        if self.velocity:
            with about(self.cite("step", "pred_original_sample = model_output * (-sigma")):
                level = squared(sigma) + 1.0
                return model_output * (-sigma / sqrt(level)) + sample / level
        with about(self.cite("step", "pred_original_sample = sample - sigma")):
            return sample - sigma * model_output

    def step(
        self,
        model_output: Expr,
        sample: Expr,
        row: Mapping[str, Expr],
        state: Mapping[str, Expr],
        noise: Expr | None,
    ) -> dict[str, Expr]:
        """Along the derivative to the next noise level."""
        sigma = row["sigma"]
        clean = self._clean(model_output, sample, sigma)
        with about(self.cite("step", "derivative =")):
            derivative = (sample - clean) / sigma
        with about(self.cite("step", "prev_sample = sample + derivative")):
            latents = sample + derivative * (row["sigma_next"] - sigma)
        return {"prev_sample": latents, "pred_original_sample": clean}


class EulerAncestral(Euler):
    """``EulerAncestralDiscreteScheduler``: down further, then up again with fresh noise."""

    takes: ClassVar[Takes] = NOISE_SCHEDULE
    noisy = True
    reads: ClassVar[tuple[str, ...]] = ("sigma", "sigma_down", "sigma_up")
    formula = "x' = x + (x − x₀)/σ · (σ_down − σ) + σ_up · noise"

    def schedule(self, steps: Expr) -> dict[str, Expr]:
        """As Euler's, and the two sigmas that share a step between them."""
        table = super().schedule(steps)
        start, end = squared(table["sigma"]), squared(table["sigma_next"])
        with about(self.cite("step", "sigma_up =")):
            up = sqrt(end * (start - end) / start)
        with about(self.cite("step", "sigma_down =")):
            down = sqrt(end - squared(up))
        del table["sigma_next"]
        return {**table, "sigma_down": down, "sigma_up": up}

    def step(
        self,
        model_output: Expr,
        sample: Expr,
        row: Mapping[str, Expr],
        state: Mapping[str, Expr],
        noise: Expr | None,
    ) -> dict[str, Expr]:
        """Euler's step to ``sigma_down``, then noise."""
        assert noise is not None
        down = {"sigma": row["sigma"], "sigma_next": row["sigma_down"]}
        found = super().step(model_output, sample, down, state, None)
        with about(self.cite("step", "noise * sigma_up")):
            return {**found, "prev_sample": found["prev_sample"] + noise * row["sigma_up"]}
