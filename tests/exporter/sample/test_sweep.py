"""The time path alone, against PyTorch's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from exporter.errors import UsageError
from exporter.parity.precision import ComputeIn
from exporter.sample.plan import RecordRequest
from exporter.sample.sweep import sweep
from exporter.targets import RECORDING
from tests.floors import Floors


def test_embedding_and_injections(
    folded: Path, make_unet: Any, tmp_path: Path, floors: Floors
) -> None:
    target = tmp_path / "time.safetensors"
    report = sweep(RecordRequest(folded, target), 5)
    assert (report.timesteps, report.injections) == (5, 11)
    assert RECORDING.holds(target)  # so that it may be written again
    found, unet = load_file(target), make_unet()
    times = torch.linspace(0, 999, 5)
    np.testing.assert_array_equal(found["timestep"], times)
    theirs = _time_path(unet, times)
    with ComputeIn(torch.float64):
        truth = _time_path(unet, times)
    names = ("temb", "injection.channels.0", "injection.vector")
    ours = [found["temb"][:, 0], found[names[1]], found[names[2]][:, 0, 0]]
    for our, their, true in zip(ours, theirs, truth, strict=True):
        floors.check(our, their, true)


def _time_path(unet: Any, times: torch.Tensor) -> list[torch.Tensor]:
    """The embedding, what the first resnet makes of it, and how large that is."""
    embedding = torch.nn.functional.silu(unet.time_embedding(unet.time_proj(times)))
    first = unet.down_blocks[0].resnets[0].time_emb_proj(embedding)
    return [embedding, first, first.square().mean(1).sqrt()]


def test_added_conditions(exported: Any, whole_xl_pipeline: Path, tmp_path: Path) -> None:
    target = tmp_path / "time.safetensors"
    sweep(RecordRequest(exported(str(whole_xl_pipeline)), target), 3)
    assert load_file(target)["temb"].shape == (3, 1, 128)


def test_one_timestep_is_no_sweep(folded: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--sweep 1"):
        sweep(RecordRequest(folded, tmp_path / "x.safetensors"), 1)
