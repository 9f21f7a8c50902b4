"""Latent consistency models (https://arxiv.org/abs/2310.04378): to x₀, then noise again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from exporter.sampler import spacing
from exporter.sampler.expr import DOUBLE, FLOAT, INT64, Expr, constant, gather, op, where
from exporter.sampler.family import (
    ANY,
    CLIPPING,
    NOISE_SCHEDULE,
    Family,
    Takes,
    clipped,
    sqrt,
    squared,
)
from exporter.sampler.scope import about


class LCM(Family):
    """``LCMScheduler``."""

    takes: ClassVar[Takes] = {
        **NOISE_SCHEDULE,
        **CLIPPING,
        "timestep_spacing": ANY,  # LCM spaces in its own way
        "steps_offset": ANY,
        "set_alpha_to_one": ANY,
        "original_inference_steps": ANY,
        "timestep_scaling": ANY,
    }
    noisy = True
    reads: ClassVar[tuple[str, ...]] = ("alpha_prod_t", "alpha_prod_t_prev", "c_skip", "c_out")
    formula = "x₀ = c_out·(x − √(1−ᾱ)·ε)/√ᾱ + c_skip·x;  x' = √ᾱ'·x₀ + √(1−ᾱ')·noise"

    @property
    def limit(self) -> int:
        """Steps of the schedule that the model was distilled with."""
        return min(self.train_steps, int(self.config["original_inference_steps"]))

    def schedule(self, steps: Expr) -> dict[str, Expr]:
        """Timestep, both products of alphas, and the boundary condition's two weights."""
        original = int(self.config["original_inference_steps"])
        stride = self.train_steps // original
        with about(self.cite("set_timesteps", "inference_indices = np.floor")):
            origin = (np.arange(original, 0, -1) * stride - 1).astype(np.int64)
            gap = float(original) / steps.to(DOUBLE)
            place = op("Floor", spacing.count_up(steps).to(DOUBLE) * gap).to(INT64)
            table = constant(origin, INT64, "lcm_origin_timesteps")
            timestep = gather(table, place).named("timesteps")
        with about(self.cite("step", "alpha_prod_t = self")):
            products = constant(self.alphas_cumprod, FLOAT, "alphas_cumprod")
            alpha = gather(products, timestep)
        with about(self.cite("step", "prev_step_index =")):
            index = spacing.count_up(steps)
            after = op("Min", index + 1, steps - 1)
            final = index.equals(steps - 1)  # no noise: as if nothing were left of it
            following = op("Gather", timestep, after, shape=index.shape)
            before = where(final, 1.0, gather(products, following))
        with about(self.cite("get_scalings_for_boundary_condition_discrete", "c_skip =")):
            scaled = timestep.to(FLOAT) * float(self.config["timestep_scaling"])
            level = squared(scaled) + 0.25
            skip, out = 0.25 / level, scaled / sqrt(level)
        return {
            "timestep": timestep.to(FLOAT),
            "alpha_prod_t": alpha,
            "alpha_prod_t_prev": before,
            "c_skip": skip,
            "c_out": out,
        }

    def step(
        self,
        model_output: Expr,
        sample: Expr,
        row: Mapping[str, Expr],
        state: Mapping[str, Expr],
        noise: Expr | None,
    ) -> dict[str, Expr]:
        """The clean image, weighed by the boundary condition, then noised again."""
        assert noise is not None
        alpha, before = row["alpha_prod_t"], row["alpha_prod_t_prev"]
        if self.velocity:
            with about(self.cite("step", "predicted_original_sample = alpha_prod_t.sqrt")):
                clean = sqrt(alpha) * sample - sqrt(1.0 - alpha) * model_output
        else:
            with about(self.cite("step", "predicted_original_sample = (sample")):
                clean = (sample - sqrt(1.0 - alpha) * model_output) / sqrt(alpha)
        with about(self.cite("step", "predicted_original_sample.clamp")):
            clean = clipped(self, clean)
        with about(self.cite("step", "denoised =")):
            denoised = row["c_out"] * clean + row["c_skip"] * sample
        with about(self.cite("step", "prev_sample = alpha_prod_t_prev")):
            latents = sqrt(before) * denoised + sqrt(1.0 - before) * noise
        return {"prev_sample": latents, "pred_original_sample": denoised}
