"""Every scheduler as a graph against diffusers' own loop over the same UNet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from exporter.errors import ConfigError, UsageError
from exporter.runtime.session import open_session
from exporter.sampler.families import FAMILIES
from exporter.sampler.plan import choose_family
from exporter.sampler.proof import prove
from exporter.sampler.setup import Case, make_setup

NAMES = ["ddim", "ddpm", "dpm++", "dpm++-karras", "euler", "euler-a", "lcm", "pndm", "unipc"]
CASES = (
    Case(1),
    Case(2, batch=3, height=9, width=13, guidance=1.0),
    Case(10, height=11, width=8),
    Case(50, height=8, width=9),
)


@pytest.mark.parametrize("name", NAMES)
def test_every_step_is_diffusers(name: str, made: Any) -> None:
    path, plan = made(name)
    onnx.checker.check_model(str(path), full_check=True)
    proof = prove(path, plan, CASES)
    assert proof.passed, proof.worst
    for drift, case in zip(proof.found, CASES, strict=True):
        assert len(drift.rel_l2) == drift.evaluations >= case.steps


ZERO_SNR = {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}
VARIATIONS = [
    ("ddim", {"timestep_spacing": "linspace"}),
    ("ddim", {**ZERO_SNR, "timestep_spacing": "trailing"}),
    ("ddim", {"clip_sample": True, "set_alpha_to_one": True, "beta_schedule": "linear"}),
    ("ddim", {"prediction_type": "v_prediction", "steps_offset": 0}),
    ("ddpm", {"timestep_spacing": "linspace", "variance_type": "fixed_large"}),
    ("ddpm", {"timestep_spacing": "trailing", "variance_type": "fixed_small_log"}),
    ("ddpm", {"prediction_type": "v_prediction", "clip_sample": True}),
    ("euler", {"timestep_spacing": "leading", "final_sigmas_type": "sigma_min"}),
    ("euler", {"timestep_spacing": "trailing", "rescale_betas_zero_snr": True}),
    ("euler", {"use_karras_sigmas": True, "sigma_min": 0.05, "sigma_max": 12.0}),
    ("euler", {"use_karras_sigmas": True, "prediction_type": "v_prediction"}),
    ("euler-a", {"timestep_spacing": "leading", "prediction_type": "v_prediction"}),
    ("dpm++", {"timestep_spacing": "leading", "prediction_type": "v_prediction"}),
    ("dpm++", {"timestep_spacing": "trailing", "final_sigmas_type": "sigma_min"}),
    ("dpm++", {"solver_order": 1, "beta_schedule": "squaredcos_cap_v2"}),
    ("lcm", {"prediction_type": "v_prediction", "original_inference_steps": 40}),
    ("pndm", {"timestep_spacing": "trailing", "prediction_type": "v_prediction"}),
    ("pndm", {"timestep_spacing": "linspace", "set_alpha_to_one": True}),
    ("unipc", {"timestep_spacing": "trailing", "use_karras_sigmas": True}),
    ("unipc", {"timestep_spacing": "leading", "prediction_type": "v_prediction"}),
    ("unipc", {"solver_order": 1, "final_sigmas_type": "sigma_min"}),
]


@pytest.mark.parametrize(("name", "config"), VARIATIONS, ids=str)
def test_configs_are_honoured(
    name: str, config: dict[str, Any], made: Any, save_config: Callable[..., Path]
) -> None:
    path, plan = made(name, scheduler=save_config(config))
    assert {key: plan.family.config[key] for key in config} == config
    proof = prove(path, plan, (Case(1), Case(7)))
    assert proof.passed, proof.worst


@pytest.mark.parametrize(
    ("name", "config", "word"),
    [
        ("ddim", {"thresholding": True}, "thresholding True"),
        ("ddim", {"prediction_type": "sample"}, "prediction_type sample"),
        ("dpm++", {"solver_order": 3}, "solver_order 3"),
        ("dpm++", {"use_lu_lambdas": True}, "use_lu_lambdas True"),
        ("dpm++", {"algorithm_type": "sde-dpmsolver++"}, "algorithm_type sde-dpmsolver"),
        ("euler", {"timestep_type": "continuous"}, "timestep_type continuous"),
        ("euler", {"interpolation_type": "log_linear"}, "interpolation_type log_linear"),
        ("ddpm", {"variance_type": "learned_range"}, "variance_type learned_range"),
        ("unipc", {"solver_type": "bh1"}, "solver_type bh1"),
        ("unipc", {"disable_corrector": [0]}, "disable_corrector"),
    ],
    ids=str,
)
def test_what_the_graph_cannot_do_is_refused_by_name(
    name: str, config: dict[str, Any], word: str
) -> None:
    with pytest.raises(ConfigError, match=word):
        choose_family(name, "UNet2DConditionModel", config)


def test_other_schedulers_are_refused() -> None:
    with pytest.raises(UsageError, match="HeunDiscreteScheduler as a graph"):
        choose_family("heun", "UNet2DConditionModel", {})
    assert len(FAMILIES) == 8


@pytest.mark.parametrize("name", ["ddim", "euler", "pndm"])
def test_no_steps_return_the_noise(name: str, made: Any) -> None:
    path, plan = made(name)
    setup = make_setup(plan, Case(2))
    outputs = open_session(path, "cpu").run(
        {**setup.feeds, "num_inference_steps": torch.tensor(0)}
    )
    np.testing.assert_array_equal(outputs["out_latents"], setup.feeds["latents"].numpy())
    assert len(outputs["step_latents"]) == len(outputs["timesteps"]) == 0


@pytest.mark.parametrize(("name", "steps", "limit"), [("ddim", -1, 1000), ("lcm", 51, 50)])
def test_impossible_steps_are_told_at_run_time(
    name: str, steps: int, limit: int, made: Any
) -> None:
    path, plan = made(name)
    feeds = {**make_setup(plan, Case(2)).feeds, "num_inference_steps": torch.tensor(steps)}
    with pytest.raises(Exception, match=f"num_inference_steps must be 0 to {limit}"):
        open_session(path, "cpu").run(feeds)
