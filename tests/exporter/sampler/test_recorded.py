"""Recordings from a sampler's file are those of the step-by-step run over its UNet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from exporter.denoising.schedulers import load_scheduler
from exporter.errors import UsageError
from exporter.sample.plan import RecordRequest
from exporter.sample.record import record
from tests.exporter.sample.tinysd import Read, read
from tests.floors import Floors

LEFT_OUT = {"seconds", "clean", "plain.seconds", "plain.max_abs"}


def _recorded(model: Path, target: Path, **how: Any) -> Read:
    wishes = {"steps": 4, "size": (9, 11), "maps": "float32", **how}
    record(RecordRequest(model, target, **wishes))
    return read(target)


def _both(sampler: str, keep: bool, made: Any, unet_file: Any, folder: Path) -> list[Read]:
    path, _ = made(sampler, keep_steps=keep)
    whole = _recorded(path, folder / "whole.safetensors", compare=True)
    steps = _recorded(unet_file(), folder / "steps.safetensors", scheduler=sampler)
    assert whole.tensors.keys() - LEFT_OUT == steps.tensors.keys() - LEFT_OUT
    assert whole.metadata["run"] | {"scheduler": sampler} == steps.metadata["run"]
    assert whole.metadata["blocks"] == steps.metadata["blocks"]
    return [whole, steps]


@pytest.mark.usefixtures("exact_roots")
@pytest.mark.parametrize(("sampler", "keep"), [("ddim", False), ("euler-a", True)])
def test_a_recording_equals_that_of_the_loop_in_python_but_for_square_roots(
    sampler: str, keep: bool, made: Any, unet_file: Any, tmp_path: Path
) -> None:
    whole, steps = _both(sampler, keep, made, unet_file, tmp_path)
    for name in whole.tensors.keys() - LEFT_OUT:
        np.testing.assert_array_equal(whole.tensors[name], steps.tensors[name], name)
    assert not whole.tensors["plain.max_abs"].any()


def test_with_pytorchs_own_roots_it_is_as_near_to_the_truth(
    made: Any, unet_file: Any, tmp_path: Path, floors: Floors
) -> None:
    whole, steps = _both("ddim", False, made, unet_file, tmp_path)
    np.testing.assert_array_equal(whole.tensors["timestep"], steps.tensors["timestep"])
    for name in ("latents", "out_sample"):  # the first that can differ is the first step
        np.testing.assert_array_equal(whole.tensors[name][0], steps.tensors[name][0])
    ours = whole.tensors["latents"][1:]
    floors.check_each(
        ours, *(_steps(whole, dtype) for dtype in (torch.float32, torch.float64))
    )


def _steps(run: Read, dtype: torch.dtype) -> list[torch.Tensor]:
    """diffusers' steps, each from what the run itself had: (C, H, W) of one image."""
    scheduler = load_scheduler("ddim", 4, class_name="UNet2DConditionModel")
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.to(dtype)
    scheduler.final_alpha_cumprod = scheduler.final_alpha_cumprod.to(dtype)
    found = []
    for index, timestep in enumerate(scheduler.timesteps):
        latents = torch.from_numpy(run.tensors["latents"][index]).to(dtype)
        without, wanted = torch.from_numpy(run.tensors["out_sample"][index]).to(dtype)
        guided = without + run.metadata["run"]["guidance"] * (wanted - without)
        found.append(scheduler.step(guided, timestep, latents).prev_sample)
    return found


def test_refusals(made: Any, tmp_path: Path) -> None:
    path, _ = made("ddim", keep_steps=False)
    target = tmp_path / "run.safetensors"
    with pytest.raises(UsageError, match="its own, DDIMScheduler"):
        record(RecordRequest(path, target, scheduler="euler"))
    model = onnx.load(path, load_external_data=False)
    model.metadata_props.add(key="atlas.text_to_image", value="{}")
    onnx.save(model, path.with_name("picture.onnx"))
    with pytest.raises(UsageError, match="is a whole pipeline"):
        record(RecordRequest(path.with_name("picture.onnx"), target))
