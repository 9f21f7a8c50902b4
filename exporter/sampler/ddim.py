"""DDIM (https://arxiv.org/abs/2010.02502), with eta 0 as pipelines call it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from exporter.sampler import discrete
from exporter.sampler.expr import FLOAT, Expr
from exporter.sampler.family import (
    ANY,
    CLIPPING,
    NOISE_SCHEDULE,
    Family,
    Takes,
    at_or,
    clipped,
    sqrt,
)
from exporter.sampler.scope import about


class DDIM(Family):
    """``DDIMScheduler``."""

    takes: ClassVar[Takes] = {
        **NOISE_SCHEDULE,
        **CLIPPING,
        "set_alpha_to_one": ANY,
    }
    reads: ClassVar[tuple[str, ...]] = ("alpha_prod_t", "alpha_prod_t_prev")
    formula = "x₀ = (x − √(1−ᾱ)·ε) / √ᾱ;  x' = √ᾱ'·x₀ + √(1−ᾱ')·ε"

    def schedule(self, steps: Expr) -> dict[str, Expr]:
        """Timestep and both products of alphas."""
        with about(self.cite("set_timesteps", "timestep_spacing ==")):
            timestep = discrete.falling(self, steps)
        with about(self.cite("step", "prev_timestep = timestep")):
            previous = timestep - self.train_steps // steps
        with about(self.cite("step", "alpha_prod_t = self")):
            alpha = at_or(self.alphas_cumprod, timestep, 1.0, "alphas_cumprod")
            final = float(self.scheduler.final_alpha_cumprod)
            before = at_or(self.alphas_cumprod, previous, final, "alphas_cumprod")
        return {
            "timestep": timestep.to(FLOAT),
            "alpha_prod_t": alpha,
            "alpha_prod_t_prev": before,
        }

    def step(
        self,
        model_output: Expr,
        sample: Expr,
        row: Mapping[str, Expr],
        state: Mapping[str, Expr],
        noise: Expr | None,
    ) -> dict[str, Expr]:
        """Formulas (12) and (16) of the paper."""
        alpha, before = row["alpha_prod_t"], row["alpha_prod_t_prev"]
        signal, spread = sqrt(alpha), sqrt(1.0 - alpha)
        if self.velocity:
            with about(self.cite("step", "pred_original_sample = (alpha_prod_t**0.5)")):
                clean = signal * sample - spread * model_output
                epsilon = signal * model_output + spread * sample
        else:
            with about(self.cite("step", "pred_original_sample = (sample")):
                clean, epsilon = (sample - spread * model_output) / signal, model_output
        with about(self.cite("step", "pred_original_sample.clamp")):
            clean = clipped(self, clean)
        with about(self.cite("step", "pred_sample_direction =")):
            direction = sqrt(1.0 - before) * epsilon
        with about(self.cite("step", "prev_sample = alpha_prod_t_prev")):
            latents = sqrt(before) * clean + direction
        return {"prev_sample": latents, "pred_original_sample": clean}
