"""DDPM (https://arxiv.org/abs/2006.11239): fresh noise on every step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from exporter.sampler import discrete, spacing
from exporter.sampler.expr import FLOAT, Expr, constant, op, where
from exporter.sampler.family import (
    CLIPPING,
    NOISE_SCHEDULE,
    Family,
    Takes,
    at_or,
    clipped,
    sqrt,
)
from exporter.sampler.scope import about


class DDPM(Family):
    """``DDPMScheduler``."""

    takes: ClassVar[Takes] = {
        **NOISE_SCHEDULE,
        **CLIPPING,
        "variance_type": ("fixed_small", "fixed_small_log", "fixed_large"),
    }
    noisy = True
    reads: ClassVar[tuple[str, ...]] = (
        "alpha_prod_t",
        "pred_original_sample_coeff",
        "current_sample_coeff",
        "std_dev_t",
    )
    formula = "x' = c₀·x₀ + cₜ·x + σₜ·noise, with formula (7) of the paper's c₀, cₜ, σₜ"

    def schedule(self, steps: Expr) -> dict[str, Expr]:
        """Timestep, product of alphas, and the three coefficients of formula (7)."""
        with about(self.cite("set_timesteps", "timestep_spacing ==")):
            timestep = discrete.falling(self, steps)
        with about(self.cite("previous_timestep", "prev_t =")):
            index = spacing.count_up(spacing.length(timestep))
            final = index.equals(spacing.length(timestep) - 1)
            after = where(final, index, index + 1)
            following = op("Gather", timestep, after, shape=index.shape)
            previous = where(final, -1, following)
        with about(self.cite("step", "alpha_prod_t = self")):
            alpha = at_or(self.alphas_cumprod, timestep, 1.0, "alphas_cumprod")
            before = at_or(self.alphas_cumprod, previous, 1.0, "alphas_cumprod")
        with about(self.cite("step", "current_alpha_t =")):
            spread, spread_before = 1.0 - alpha, 1.0 - before
            ratio = alpha / before
            beta = 1.0 - ratio
        with about(self.cite("step", "pred_original_sample_coeff =")):
            clean = (sqrt(before) * beta) / spread
        with about(self.cite("step", "current_sample_coeff =")):
            current = sqrt(ratio) * spread_before / spread
        with about(self.cite("_get_variance", "variance =")):
            variance = op("Max", spread_before / spread * beta, constant(1e-20, FLOAT))
            deviation = self._deviation(variance, beta)
            deviation = where(timestep > 0, deviation, 0.0)
        return {
            "timestep": timestep.to(FLOAT),
            "alpha_prod_t": alpha,
            "pred_original_sample_coeff": clean,
            "current_sample_coeff": current,
            "std_dev_t": deviation,
        }

    def _deviation(self, variance: Expr, beta: Expr) -> Expr:
        kind = self.config["variance_type"]
        if kind == "fixed_small_log":
            return op("Exp", 0.5 * op("Log", variance))
        return sqrt(beta if kind == "fixed_large" else variance)

    def step(
        self,
        model_output: Expr,
        sample: Expr,
        row: Mapping[str, Expr],
        state: Mapping[str, Expr],
        noise: Expr | None,
    ) -> dict[str, Expr]:
        """Formula (7), then noise."""
        assert noise is not None
        alpha = row["alpha_prod_t"]
        if self.velocity:
            with about(self.cite("step", "pred_original_sample = (alpha_prod_t**0.5)")):
                clean = sqrt(alpha) * sample - sqrt(1.0 - alpha) * model_output
        else:
            with about(self.cite("step", "pred_original_sample = (sample")):
                clean = (sample - sqrt(1.0 - alpha) * model_output) / sqrt(alpha)
        with about(self.cite("step", "pred_original_sample.clamp")):
            clean = clipped(self, clean)
        with about(self.cite("step", "pred_prev_sample =")):
            mean = row["pred_original_sample_coeff"] * clean
            mean = mean + row["current_sample_coeff"] * sample
        with about(self.cite("step", "pred_prev_sample = pred_prev_sample + variance")):
            return {
                "prev_sample": mean + row["std_dev_t"] * noise,
                "pred_original_sample": clean,
            }
