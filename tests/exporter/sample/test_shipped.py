"""`shapes`, which comes with the package: its file brings text, VAE and scheduler along."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from exporter.errors import SourceError, TargetError, UsageError
from exporter.sample.plan import RecordRequest
from exporter.sample.record import record
from exporter.shipped import shipped, shipped_folder
from exporter.source import load_source
from shapes_tools.card import FIGURES, captions, load
from shapes_tools.measure import measure
from tests.exporter.sample.conftest import Exported
from tests.exporter.sample.tinysd import read

CAPTION = "a red circle left of a blue square on white"
FOLDER = shipped_folder("shapes")
assert FOLDER is not None


@pytest.fixture
def painted(exported: Exported, tmp_path: Path) -> RecordRequest:
    return RecordRequest(
        exported("shapes"),
        tmp_path / "run.safetensors",
        steps=10,
        guidance=3.0,
        prompt=CAPTION,
        image=tmp_path / "shapes.png",
        provider="cpu",
    )


def test_it_is_small_and_has_a_card():
    assert shipped() == ("shapes",)
    weights = [file.stat().st_size for file in FOLDER.glob("*/*.safetensors")]
    assert len(weights) == 3
    assert sum(weights) <= 6_000_000
    card = (FOLDER / "README.md").read_text()
    figures = json.loads((FOLDER / FIGURES).read_text())["trained"]
    for share in (figures["right"], figures["pointing_game"]["all layers"]):
        assert f"{share:.1%}" in card  # the card quotes what was measured


def test_a_preset_with_weights_takes_no_choice_of_them():
    with pytest.raises(UsageError, match="--variant fp16 with the preset shapes"):
        load_source("shapes", variant="fp16")


def test_the_image_is_that_of_diffusers(painted: RecordRequest):
    """Same noise, same caption: DDIM over our file and over PyTorch differ by rounding."""
    record(painted)
    parts, recording = load(FOLDER), read(painted.target)
    ids = parts.tokenizer(
        ["", CAPTION], padding="max_length", max_length=16, return_tensors="pt"
    ).input_ids
    latents = torch.from_numpy(recording.tensors["latents"][:1])
    with torch.inference_mode():
        states = parts.text_encoder(ids).last_hidden_state
        parts.scheduler.set_timesteps(painted.steps)
        for timestep in parts.scheduler.timesteps:
            both = parts.unet(torch.cat([latents, latents]), timestep, states).sample
            without, given = both.chunk(2)
            guided = without + painted.guidance * (given - without)
            latents = parts.scheduler.step(guided, timestep, latents).prev_sample
        image = parts.vae.decode(latents / parts.vae.config.scaling_factor).sample
    expected = ((image[0] / 2 + 0.5).clamp(0, 1) * 255).permute(1, 2, 0).numpy()
    assert painted.image is not None
    shown = np.asarray(Image.open(painted.image)).astype(float)
    assert shown.shape == (48, 48, 3)
    assert np.abs(shown - expected).max() < 1.5  # of 255: rounding to whole levels is 0.5


def test_parts_named_by_hand_are_kept(painted: RecordRequest, tmp_path: Path):
    record(replace(painted, scheduler="euler", steps=2))
    run: dict[str, Any] = read(painted.target).metadata["run"]
    assert run["scheduler_class"] == "EulerDiscreteScheduler"
    assert run["scheduler_config"]["prediction_type"] == "v_prediction"  # the pipeline's


def test_a_folder_that_is_no_pipeline(painted: RecordRequest, tmp_path: Path):
    with pytest.raises(SourceError, match=r"no model_index.json in .*; expected a diffusers"):
        record(replace(painted, pipeline=tmp_path))


@pytest.mark.parametrize("name", ["unet.onnx", "weights.safetensors", "absent/shapes.png"])
def test_an_image_replaces_nothing_else(painted: RecordRequest, tmp_path: Path, name: str):
    kept = tmp_path / name
    if kept.parent.is_dir():
        kept.write_bytes(b"someone's")
    with pytest.raises(TargetError, match=r"--image .*; expected a name in .png"):
        record(replace(painted, image=kept))
    assert not kept.parent.is_dir() or kept.read_bytes() == b"someone's"


def test_its_figures_hold():
    """A fifth of the captions of the card, within three standard errors of its figures."""
    said = json.loads((FOLDER / FIGURES).read_text())
    found, _ = measure(load(FOLDER), captions(100), **said["sampling"], seed=2)
    ours, card = found.to_json(), said["trained"]
    for name in ("right", "colours", "shapes", "relation"):
        allowed = 3 * (card[name] * (1 - card[name]) / 100) ** 0.5 + 0.01
        assert abs(ours[name] - card[name]) < allowed, name
    pointed = ours["pointing_game"]
    assert pointed["all layers"] > max(0.8, 2 * pointed["chance"])
