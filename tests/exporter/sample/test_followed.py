"""A recording read while it grows, and what the viewer orders and hears."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from exporter.errors import UsageError
from exporter.sample.plan import RecordRequest
from exporter.sample.record import record
from tests.exporter.sample.tinysd import read
from viewer.model.recording import read_recording
from viewer.serve.order import read_order
from viewer.serve.sampling import Sampler

STEPS = 3


@pytest.fixture
def short(request_: RecordRequest, tmp_path: Path) -> RecordRequest:
    target = tmp_path / "run.safetensors"
    return replace(request_, target=target, steps=STEPS, heads=True)


def test_every_evaluation_can_be_read_when_it_is_told(short: RecordRequest) -> None:
    seen: list[tuple[int, int, list[bool]]] = []

    def on_growth(file: Path, done: int, of: int) -> None:
        growing = read_recording(file)
        written = [bool(growing.step("block.rms", step).any()) for step in range(of)]
        seen.append((done, of, written))

    report = record(short, on_growth=on_growth)
    assert report.largest_difference == 0  # the maps of heads change no bit either
    told = [(done, of) for done, of, _ in seen]
    assert told == [*((done, STEPS) for done in range(STEPS + 1)), (STEPS, STEPS)]
    for done, of, written in seen:
        assert written == [step < done for step in range(of)]


def test_the_heads_of_a_map_average_to_it(short: RecordRequest) -> None:
    record(replace(short, compare=False))
    tensors = read(short.target).tensors
    heads, mean = tensors["attention.heads.0"], tensors["attention.map.0"]
    assert heads.shape[2] > 1
    np.testing.assert_allclose(heads.mean(axis=2), mean, atol=1e-6)
    assert np.abs(heads[:, :, 0] - mean).max() > 1e-4  # they are not all the same


def test_heads_without_maps_are_refused(short: RecordRequest) -> None:
    with pytest.raises(UsageError, match="--heads with --maps none"):
        record(replace(short, maps="none"))


def test_the_viewer_orders_runs_of_the_real_command(
    short: RecordRequest, whole_pipeline: Path
) -> None:
    folder = shutil.copytree(whole_pipeline, short.target.parent / "pipeline")
    (folder / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    sampler = Sampler([short.model], str(folder))
    sampler.ready()
    try:
        good = {"prompt": "a red cat", "steps": "2", "scheduler": "euler", "seed": "3"}
        sampler.begin(read_order(good, 1))
        run = _over(sampler)
        assert (run["status"], run["done"], run["error"]) == ("done", 2, "")
        recording = read_recording(sampler.file(1))
        assert recording.shapes["preview"] == (2, 64, 64, 3)
        assert recording.metadata["run"]["seed"] == 3
        sampler.begin(read_order({**good, "scheduler": "quick"}, 1))
        assert "quick" in _over(sampler)["error"]
    finally:
        sampler.close()


def _over(sampler: Sampler) -> dict[str, object]:
    seen, end = -1, time.monotonic() + 300
    while time.monotonic() < end:
        state = sampler.state(seen, 1.0)
        seen, run = state["version"], state["runs"][-1]
        if run["status"] not in ("starting", "running"):
            return dict(run)
    raise AssertionError(sampler.state())
