"""UniPC (https://arxiv.org/abs/2302.04867): a predictor, and a corrector that is free."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from exporter.sampler import multistep, spacing
from exporter.sampler.dpm_solver import clean_image
from exporter.sampler.expr import DOUBLE, INT64, Expr, constant, op, where
from exporter.sampler.family import ANY, NOISE_SCHEDULE, Family, Takes
from exporter.sampler.scope import about


class UniPC(Family):
    """``UniPCMultistepScheduler`` that predicts x₀, of order 1 or 2."""

    takes: ClassVar[Takes] = {
        **NOISE_SCHEDULE,
        "solver_order": (1, 2),
        "predict_x0": (True,),
        "solver_type": ("bh2",),
        "lower_order_final": (True,),  # else diffusers' last step is not a number
        "disable_corrector": ([],),
        "use_karras_sigmas": ANY,
        "final_sigmas_type": ("zero", "sigma_min"),
        "thresholding": (False,),
        "dynamic_thresholding_ratio": ANY,
        "sample_max_value": ANY,
        "flow_shift": ANY,  # of use_flow_sigmas, which is refused
        "time_shift_type": ANY,  # of use_dynamic_shifting, likewise
    }
    reads: ClassVar[tuple[str, ...]] = (
        "alpha_t",
        "sigma_t",
        "kept",
        "moved",
        "bent",
        "corrector_kept",
        "corrector_moved",
        "corrector_old",
        "corrector_new",
        "corrects",
    )
    formula = (
        "corrector: x = σ/σ₋·x₋ − c·m₁ − o·(m₂ − m₁) − n·(m − m₁);  "
        "predictor: x' = σ'/σ·x − p·m − b·(m₁ − m)"
    )

    @property
    def state(self) -> tuple[str, ...]:
        """Clean images of the two steps before, and the latents before the last step."""
        return ("model_output_1", "model_output_2", "last_sample")

    def schedule(self, steps: Expr) -> dict[str, Expr]:
        """Levels, and the coefficients of predictor and corrector."""
        table = multistep.spaced(self, steps)
        with about(self.cite("_sigma_to_alpha_sigma_t", "alpha_t = 1 /")):
            alpha, sigma = multistep.alpha_sigma(table["sigma"])
            alpha_next, sigma_next = multistep.alpha_sigma(table["sigma_next"])
        with about(self.cite("multistep_uni_p_bh_update", "h = lambda_t")):
            here = multistep.log_ratio(alpha, sigma)
            h = multistep.log_ratio(alpha_next, sigma_next) - here
        second = self._second_order(table["timestep"])
        predictor = self._predictor(alpha_next, here, h, second)
        corrector = self._corrector(alpha, sigma, here, second)
        with about(self.cite("multistep_uni_p_bh_update", "x_t_ = sigma_t / sigma_s0")):
            kept = sigma_next / sigma
        return {
            "timestep": table["timestep"],
            "alpha_t": alpha,
            "sigma_t": sigma,
            "kept": kept,
            **predictor,
            **corrector,
        }

    def _second_order(self, timestep: Expr) -> Expr:
        """Where the predictor is of second order: neither first nor last."""
        count = spacing.length(timestep)
        index = spacing.count_up(count)
        with about(self.cite("step", "self.this_order = min(this_order")):
            if self.config["solver_order"] == 1:
                return index < 0
            return (index > 0) & (index < count - 1)

    def _predictor(self, alpha: Expr, here: Expr, h: Expr, second: Expr) -> dict[str, Expr]:
        """Coefficients of m and of (m₁ - m)."""
        phi = expm1(-h)
        with about(self.cite("multistep_uni_p_bh_update", "rk = (lambda_si")):
            ratio = (multistep.before(here, 1) - here) / h
        with about(self.cite("multistep_uni_p_bh_update", "rhos_p = torch.ones(1")):
            bent = where(second, alpha * phi * 0.5 / ratio, 0.0)
        return {"moved": alpha * phi, "bent": bent}

    def _corrector(
        self, alpha: Expr, sigma: Expr, here: Expr, second: Expr
    ) -> dict[str, Expr]:
        """Coefficients of m₁, of (m₂ - m₁) and of (m - m₁), and whether there are any."""
        earlier = multistep.before(here, 1)
        h = here - earlier
        phi = expm1(-h)
        with about(self.cite("multistep_uni_c_bh_update", "rk = (lambda_si")):
            ratio = (multistep.before(here, 2) - earlier) / h
        with about(self.cite("multistep_uni_c_bh_update", "b.append(h_phi_k")):
            first = phi / -h - 1.0
            b_1 = first / phi
            b_2 = (first / -h - 0.5) * 2.0 / phi
        index = spacing.count_up(spacing.length(here))
        with about(self.cite("multistep_uni_c_bh_update", "rhos_c = torch.linalg.solve")):
            was_second = op("And", index > 1, _moved(second))
            old = where(was_second, (b_2 - b_1) / (ratio - 1.0), 0.0)
            new = where(was_second, b_1 - old, 0.5)
            old = where(was_second, old / ratio, 0.0)
        with about(self.cite("multistep_uni_c_bh_update", "x_t = x_t_ - alpha_t")):
            weight = alpha * phi
            corrects = index > 0
            return {
                "corrector_kept": sigma / multistep.before(sigma, 1),
                "corrector_moved": where(corrects, alpha * phi, 0.0),
                "corrector_old": where(corrects, weight * old, 0.0),
                "corrector_new": where(corrects, weight * new, 0.0),
                "corrects": corrects,
            }

    def step(
        self,
        model_output: Expr,
        sample: Expr,
        row: Mapping[str, Expr],
        state: Mapping[str, Expr],
        noise: Expr | None,
    ) -> dict[str, Expr]:
        """Correct the latents with the new prediction, then predict the next ones."""
        clean = clean_image(self, model_output, sample, row)
        one, two = state["model_output_1"], state["model_output_2"]
        with about(self.cite("multistep_uni_c_bh_update", "x_t = x_t_ - alpha_t")):
            corrected = row["corrector_kept"] * state["last_sample"]
            corrected = corrected - row["corrector_moved"] * one
            corrected = corrected - row["corrector_old"] * (two - one)
            corrected = corrected - row["corrector_new"] * (clean - one)
        with about(self.cite("step", "if use_corrector:")):
            start = where(row["corrects"], corrected, sample)
        with about(self.cite("multistep_uni_p_bh_update", "x_t = x_t_ - alpha_t")):
            latents = row["kept"] * start - row["moved"] * clean
            latents = latents - row["bent"] * (one - clean)
        return {
            "prev_sample": latents,
            "model_output_1": clean,
            "model_output_2": one,
            "last_sample": start,
        }


def expm1(x: Expr) -> Expr:
    """exp(x) - 1, which for these h (0.01 and more) float64 holds to float32's last bit."""
    return (op("Exp", x.to(DOUBLE)) - 1.0).to(x.dtype)


def _moved(flags: Expr) -> Expr:
    """Boolean ``multistep.before``: what the step before was."""
    index = spacing.count_up(spacing.length(flags))
    return op("Gather", flags, op("Max", index - 1, constant(0, INT64)), shape=flags.shape)
