"""What every scheduler family tells the loop: its tables, its state and its step.

A family is diffusers' scheduler written down in two parts: ``schedule`` is its
``set_timesteps`` with all that depends on the timestep alone, one row for each evaluation of
the UNet; ``step`` is its ``step``, given the row of the evaluation as scalars. So hardly any
arithmetic on single numbers is left inside the loop.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from exporter.errors import ConfigError
from exporter.sampler import cite
from exporter.sampler.expr import FLOAT, Expr, constant, op, where

ANY = None
"""Every value of a config key is taken into account."""

Takes = Mapping[str, Collection[Any] | None]
"""Config keys to the values that may be theirs."""

NOISE_SCHEDULE: Takes = {
    "num_train_timesteps": ANY,
    "beta_start": ANY,
    "beta_end": ANY,
    "beta_schedule": ANY,
    "trained_betas": ANY,
    "rescale_betas_zero_snr": ANY,
    "timestep_spacing": ("leading", "trailing", "linspace"),
    "steps_offset": ANY,
    "prediction_type": ("epsilon", "v_prediction"),
}
"""Config keys that most families share; betas are diffusers' own (``alphas_cumprod``)."""

CLIPPING: Takes = {
    "clip_sample": ANY,
    "clip_sample_range": ANY,
    "thresholding": (False,),
    "dynamic_thresholding_ratio": ANY,  # of thresholding
    "sample_max_value": ANY,  # likewise
}
"""Config keys of what is done to the clean image; dynamic thresholding is refused."""


@dataclass(frozen=True)
class Family(ABC):
    """One scheduler with its config.

    Attributes:
        scheduler: diffusers' own, whose tables and config are read.
    """

    scheduler: Any

    takes: ClassVar[Takes]
    """Config keys that are taken into account, and the values that may be theirs."""
    noisy: ClassVar[bool] = False
    """Whether each step draws noise, an input of the graph."""
    reads: ClassVar[tuple[str, ...]] = ()
    """Columns of the schedule that the step reads."""
    formula: ClassVar[str] = ""
    """One line in the documentation of the step."""

    def __post_init__(self) -> None:
        """Refuses what would have to be ignored.

        Raises:
            ConfigError: Naming the config key, its value and what is possible.
        """
        known = inspect.signature(type(self.scheduler).__init__).parameters
        for key, value in self.config.items():
            if key.startswith("_") or key not in known:
                continue
            default = (known[key].default,)
            allowed = self.takes.get(key, default)
            if allowed is ANY or value in allowed or (key not in self.takes and not value):
                continue
            wanted = " or ".join(str(v) for v in allowed)
            raise ConfigError(
                f"{type(self.scheduler).__name__} with {key} {value}",
                f"{wanted}, which the sampling graph can do",
                "use another --sampler or change scheduler_config.json",
            )

    @property
    def config(self) -> Mapping[str, Any]:
        """The scheduler's."""
        config: Mapping[str, Any] = self.scheduler.config
        return config

    @property
    def train_steps(self) -> int:
        """Timesteps of training, and the most that can be sampled."""
        return int(self.config["num_train_timesteps"])

    @property
    def limit(self) -> int:
        """The most inference steps that diffusers takes."""
        return self.train_steps

    @property
    def velocity(self) -> bool:
        """Whether the UNet predicts v, not the noise."""
        return bool(self.config["prediction_type"] == "v_prediction")

    @property
    def alphas_cumprod(self) -> np.ndarray:
        """Diffusers' float32 table over the training timesteps."""
        table: np.ndarray = self.scheduler.alphas_cumprod.numpy()
        return table

    @property
    def train_sigmas(self) -> np.ndarray:
        """Noise level over signal for every training timestep, float32."""
        table = self.scheduler.alphas_cumprod
        sigmas: np.ndarray = (((1 - table) / table) ** 0.5).numpy()
        return sigmas

    @property
    def state(self) -> tuple[str, ...]:
        """What is carried from step to step beside the latents, each of their shape."""
        return ()

    def cite(self, method: str, text: str = "") -> str:
        """Where the formula stands in diffusers."""
        module = type(self.scheduler).__module__.removeprefix("diffusers.")
        return cite.line(f"{module.replace('.', '/')}.py", method, text)

    @abstractmethod
    def schedule(self, steps: Expr) -> dict[str, Expr]:
        """Records the tables, each of one row for every evaluation of the UNet.

        Args:
            steps: Scalar int64, from 1.

        Returns:
            ``timestep`` and whatever the step reads, by the name it has there; a scalar
            ``init_noise_sigma`` where the first latents are scaled.
        """

    def scale(self, sample: Expr, row: Mapping[str, Expr]) -> Expr:
        """``scale_model_input``; most families do nothing."""
        return sample

    @abstractmethod
    def step(
        self,
        model_output: Expr,
        sample: Expr,
        row: Mapping[str, Expr],
        state: Mapping[str, Expr],
        noise: Expr | None,
    ) -> dict[str, Expr]:
        """Records one step: ``prev_sample``, ``pred_original_sample`` and the next state."""


def sqrt(x: Expr) -> Expr:
    """Elementwise."""
    return op("Sqrt", x)


def squared(x: Expr) -> Expr:
    """Elementwise."""
    return x * x


def clipped(family: Family, x: Expr) -> Expr:
    """Clamped where the config says ``clip_sample``."""
    if not family.config["clip_sample"]:
        return x
    span = float(family.config["clip_sample_range"])
    return op("Clip", x, constant(-span, FLOAT), constant(span, FLOAT))


def at_or(table: np.ndarray, index: Expr, otherwise: float, name: str) -> Expr:
    """``table[index]``, or ``otherwise`` where the index is below 0."""
    inside = op("Max", index, constant(0, index.dtype))
    values = constant(table, FLOAT, name)
    found = op("Gather", values, inside, shape=index.shape)
    return where(index < 0, otherwise, found)
