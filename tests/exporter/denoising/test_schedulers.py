"""Every scheduler by name, a step at a time."""

from __future__ import annotations

import pytest
import torch

from exporter.denoising.schedulers import SHORT, advance, load_scheduler, tells_clean


@pytest.mark.parametrize("name", [*SHORT, "KDPM2DiscreteScheduler"])
def test_short_names(name: str) -> None:
    scheduler = load_scheduler(name, 4, class_name="UNet2DConditionModel")
    clean = tells_clean(scheduler)
    random = torch.Generator().manual_seed(0)
    latents = torch.randn(1, 4, 8, 8, generator=random) * scheduler.init_noise_sigma
    for timestep in scheduler.timesteps:
        scaled = scheduler.scale_model_input(latents, timestep)
        latents, image = advance(scheduler, 0.1 * scaled, timestep, latents, random)
        assert (image is not None) == clean
    assert torch.isfinite(latents).all()


def test_prediction_type() -> None:
    scheduler = load_scheduler(
        "ddim", 4, class_name="UNet2DConditionModel", prediction="v_prediction"
    )
    assert scheduler.config.prediction_type == "v_prediction"
    assert scheduler.config.beta_schedule == "scaled_linear"
    assert load_scheduler("ddim", 4, class_name="UNet2DModel").config.beta_schedule == "linear"
