"""Recordings from a sampler's file are those of the step-by-step run over its UNet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from exporter.errors import UsageError
from exporter.sample.plan import RecordRequest
from exporter.sample.record import record
from tests.exporter.sample.tinysd import Read, read

LEFT_OUT = {"seconds", "clean", "plain.seconds", "plain.max_abs"}


def _recorded(model: Path, target: Path, **how: Any) -> Read:
    wishes = {"steps": 4, "size": (9, 11), "maps": "float32", **how}
    record(RecordRequest(model, target, **wishes))
    return read(target)


@pytest.mark.parametrize(("sampler", "keep"), [("ddim", False), ("euler-a", True)])
def test_a_recording_equals_that_of_the_loop_in_python(
    sampler: str, keep: bool, made: Any, unet_file: Any, tmp_path: Path
) -> None:
    path, _ = made(sampler, keep_steps=keep)
    whole = _recorded(path, tmp_path / "whole.safetensors", compare=True)
    steps = _recorded(unet_file(), tmp_path / "steps.safetensors", scheduler=sampler)
    assert whole.tensors.keys() - LEFT_OUT == steps.tensors.keys() - LEFT_OUT
    np.testing.assert_array_equal(whole.tensors["timestep"], steps.tensors["timestep"])
    for name in whole.tensors.keys() - LEFT_OUT:
        ours, theirs = whole.tensors[name], steps.tensors[name]
        scale = float(np.abs(theirs).max()) or 1.0
        assert np.abs(ours - theirs).max() <= 1e-4 * scale, name
    assert whole.metadata["run"] | {"scheduler": sampler} == steps.metadata["run"]
    assert whole.metadata["blocks"] == steps.metadata["blocks"]
    assert float(whole.tensors["plain.max_abs"].max()) <= 1e-4


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
