"""PNDM without Runge-Kutta steps, that is PLMS (https://arxiv.org/abs/2202.09778)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from exporter.sampler import discrete, spacing
from exporter.sampler.expr import FLOAT, INT64, Expr, constant, gather, op, where
from exporter.sampler.family import ANY, NOISE_SCHEDULE, Family, Takes, at_or, sqrt
from exporter.sampler.scope import about

WEIGHTS = np.array(
    [
        [1, 0, 0, 0, 1],
        [1, 1, 0, 0, 2],  # the second evaluation at the first timestep's end: the mean
        [3, -1, 0, 0, 2],
        [23, -16, 5, 0, 12],
        [55, -59, 37, -9, 24],
    ],
    np.float32,
)
"""Adams-Bashforth by evaluation: weights of the newest four predictions, and the divisor."""


class PNDM(Family):
    """``PNDMScheduler`` with ``skip_prk_steps``, as Stable Diffusion's configs have it."""

    takes: ClassVar[Takes] = {
        key: values
        for key, values in NOISE_SCHEDULE.items()
        if key != "rescale_betas_zero_snr"
    } | {"set_alpha_to_one": ANY, "skip_prk_steps": (True,)}
    reads: ClassVar[tuple[str, ...]] = (
        "alpha_prod_t",
        "alpha_prod_t_prev",
        "weight_1",
        "weight_2",
        "weight_3",
        "weight_4",
        "divisor",
        "second",
    )
    formula = "ε = (w₁·ε₁ + w₂·ε₂ + w₃·ε₃ + w₄·ε₄) / d; x' by formula (9) of the paper"

    @property
    def state(self) -> tuple[str, ...]:
        """Earlier predictions, the newest first, and the latents before the first step."""
        return ("ets_1", "ets_2", "ets_3", "cur_sample")

    def schedule(self, steps: Expr) -> dict[str, Expr]:
        """The second timestep twice; weights by how many predictions there are."""
        with about(self.cite("set_timesteps", "self.plms_timesteps = np.concatenate")):
            spaced = discrete.falling(self, steps)
            size = spacing.length(spaced)
            rounds = where(size > 1, size + 1, size)
            index = spacing.count_up(rounds)
            place = where(index > 1, index - 1, index)
            timestep = gather(spaced, place).named("plms_timesteps")
        with about(self.cite("step_plms", "prev_timestep = timestep - ")):
            stride = self.train_steps // steps
            second = index.equals(1)
            start = where(second, timestep + stride, timestep)
            end = start - stride
        with about(self.cite("_get_prev_sample", "alpha_prod_t =")):
            final = float(self.scheduler.final_alpha_cumprod)
            alpha = at_or(self.alphas_cumprod, start, 1.0, "alphas_cumprod")
            before = at_or(self.alphas_cumprod, end, final, "alphas_cumprod")
        with about(self.cite("step_plms", "if len(self.ets) == 1 and self.counter == 0")):
            kind = op("Min", index, constant(len(WEIGHTS) - 1, INT64))
            names = ("weight_1", "weight_2", "weight_3", "weight_4", "divisor")
            weights = {
                name: gather(constant(column, FLOAT, f"{name}_by_evaluation"), kind)
                for name, column in zip(names, WEIGHTS.T, strict=True)
            }
        return {
            "timestep": timestep.to(FLOAT),
            "alpha_prod_t": alpha,
            "alpha_prod_t_prev": before,
            **weights,
            "second": second,
        }

    def step(
        self,
        model_output: Expr,
        sample: Expr,
        row: Mapping[str, Expr],
        state: Mapping[str, Expr],
        noise: Expr | None,
    ) -> dict[str, Expr]:
        """Linear multistep; the second evaluation corrects the first step."""
        second = row["second"]
        earlier = [state[key] for key in ("ets_1", "ets_2", "ets_3")]
        with about(self.cite("step_plms", "55 * self.ets")):
            total = row["weight_1"] * model_output
            for place, prediction in enumerate(earlier, 2):
                total = total + row[f"weight_{place}"] * prediction
            averaged = total / row["divisor"]
        with about(self.cite("step_plms", "sample = self.cur_sample")):
            start = where(second, state["cur_sample"], sample)
        with about(self.cite("step_plms", "self.ets.append(model_output)")):
            kept = [
                where(second, old, new)
                for old, new in zip(earlier, [model_output, *earlier[:2]], strict=True)
            ]
        latents = self._previous(start, averaged, row)
        state = dict(zip(("ets_1", "ets_2", "ets_3"), kept, strict=True))
        return {"prev_sample": latents, **state, "cur_sample": start}

    def _previous(self, sample: Expr, output: Expr, row: Mapping[str, Expr]) -> Expr:
        alpha, before = row["alpha_prod_t"], row["alpha_prod_t_prev"]
        spread = 1.0 - alpha
        if self.velocity:
            with about(self.cite("_get_prev_sample", "model_output = (alpha_prod_t**0.5)")):
                output = sqrt(alpha) * output + sqrt(spread) * sample
        with about(self.cite("_get_prev_sample", "sample_coeff = (")):
            kept = sqrt(before / alpha)
        with about(self.cite("_get_prev_sample", "model_output_denom_coeff = ")):
            bottom = alpha * sqrt(1.0 - before) + sqrt(alpha * spread * before)
        with about(self.cite("_get_prev_sample", "sample_coeff * sample")):
            return kept * sample - (before - alpha) * output / bottom
