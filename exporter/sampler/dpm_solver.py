"""DPM-Solver++ of first and second order (https://arxiv.org/abs/2211.01095)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from exporter.sampler import multistep, spacing
from exporter.sampler.expr import Expr, op, where
from exporter.sampler.family import ANY, NOISE_SCHEDULE, Family, Takes
from exporter.sampler.scope import about


class DPMSolver(Family):
    """``DPMSolverMultistepScheduler`` as ``dpmsolver++`` with midpoints."""

    takes: ClassVar[Takes] = {
        **NOISE_SCHEDULE,
        "solver_order": (1, 2),
        "algorithm_type": ("dpmsolver++",),
        "solver_type": ("midpoint",),
        "lower_order_final": ANY,
        "euler_at_final": ANY,
        "use_karras_sigmas": ANY,
        "final_sigmas_type": ("zero", "sigma_min"),
        "lambda_min_clipped": (-float("inf"),),
        "thresholding": (False,),
        "dynamic_thresholding_ratio": ANY,
        "sample_max_value": ANY,
        "flow_shift": ANY,  # of use_flow_sigmas, which is refused
        "time_shift_type": ANY,  # of use_dynamic_shifting, likewise
    }
    reads: ClassVar[tuple[str, ...]] = ("alpha_t", "sigma_t", "kept", "moved", "inverse_r0")
    formula = (
        "D₀ = x₀, D₁ = (x₀ − x₀ before) / r₀;  "
        "x' = σ'/σ·x − α'(e⁻ʰ−1)·D₀ − ½α'(e⁻ʰ−1)·D₁; D₁ = 0 where the order is 1"
    )

    @property
    def state(self) -> tuple[str, ...]:
        """The clean image of the step before."""
        return ("model_output_1",) if self.config["solver_order"] == 2 else ()

    def schedule(self, steps: Expr) -> dict[str, Expr]:
        """Levels, and the coefficients of x, D₀ and D₁."""
        rounded = self.config["beta_schedule"] != "squaredcos_cap_v2"
        table = multistep.spaced(self, steps, rounded=rounded)
        with about(self.cite("_sigma_to_alpha_sigma_t", "alpha_t = 1 /")):
            alpha, sigma = multistep.alpha_sigma(table["sigma"])
            alpha_next, sigma_next = multistep.alpha_sigma(table["sigma_next"])
        with about(self.cite("multistep_dpm_solver_second_order_update", "h, h_0 =")):
            here = multistep.log_ratio(alpha, sigma)
            h = multistep.log_ratio(alpha_next, sigma_next) - here
            ratio = (here - multistep.before(here, 1)) / h
        with about(self.cite("step", "self.lower_order_nums < 1 or lower_order_final")):
            inverse = where(self._first_order(table["timestep"]), 0.0, 1.0 / ratio)
        with about(self.cite("dpm_solver_first_order_update", "x_t = (sigma_t / sigma_s)")):
            moved = alpha_next * (op("Exp", -h) - 1.0)
            kept = sigma_next / sigma
        return {
            "timestep": table["timestep"],
            "alpha_t": alpha,
            "sigma_t": sigma,
            "kept": kept,
            "moved": moved,
            "inverse_r0": inverse,
        }

    def _first_order(self, timestep: Expr) -> Expr:
        """Which steps are of first order: the first one, and by config the last."""
        count = spacing.length(timestep)
        index = spacing.count_up(count)
        final = index.equals(count - 1)
        if self.config["euler_at_final"] or self.config["final_sigmas_type"] == "zero":
            return index.equals(0) | final
        if self.config["lower_order_final"]:
            return index.equals(0) | (final & (count < 15))
        return index.equals(0)

    def step(
        self,
        model_output: Expr,
        sample: Expr,
        row: Mapping[str, Expr],
        state: Mapping[str, Expr],
        noise: Expr | None,
    ) -> dict[str, Expr]:
        """The clean image, then one multistep update."""
        clean = clean_image(self, model_output, sample, row)
        with about(self.cite("dpm_solver_first_order_update", "x_t = (sigma_t / sigma_s)")):
            latents = row["kept"] * sample - row["moved"] * clean
        if not self.state:
            return {"prev_sample": latents}
        with about(self.cite("multistep_dpm_solver_second_order_update", "D0, D1 =")):
            slope = row["inverse_r0"] * (clean - state["model_output_1"])
        with about(self.cite("multistep_dpm_solver_second_order_update", "- 0.5 * (alpha_t")):
            latents = latents - (0.5 * row["moved"]) * slope
        return {"prev_sample": latents, "model_output_1": clean}


def clean_image(
    family: Family, model_output: Expr, sample: Expr, row: Mapping[str, Expr]
) -> Expr:
    """``convert_model_output``: what the prediction says of the clean image."""
    alpha, sigma = row["alpha_t"], row["sigma_t"]
    if family.velocity:
        with about(family.cite("convert_model_output", "x0_pred = alpha_t * sample")):
            return alpha * sample - sigma * model_output
    with about(family.cite("convert_model_output", "x0_pred = (sample")):
        return (sample - sigma * model_output) / alpha
