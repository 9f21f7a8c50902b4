"""docs/MODELS.md is made by a script, and each of its configurations has a verdict there."""

from __future__ import annotations

import json
from pathlib import Path

import diffusers
import pytest

from models_tools.make import CONFIGURATIONS, PAGE, page
from models_tools.row import Row, row

WANTED = json.loads(CONFIGURATIONS.read_text())


def test_configurations_are_of_diffusers_classes_and_each_has_a_name() -> None:
    assert all(hasattr(diffusers, one["class"]) for one in WANTED)
    assert len({one["name"] for one in WANTED}) == len(WANTED) > 60


@pytest.mark.parametrize("name", ["setting: GLIGEN", "unets models_unet_motion"])
def test_what_is_not_done_is_refused_for_a_reason(name: str, tmp_path: Path) -> None:
    one = next(one for one in WANTED if one["name"] == name)
    made = row(name, one["class"], one["config"], tmp_path / "model")
    assert made.verdict == "refused"
    assert "expected" in made.told
    assert str(tmp_path) not in made.told


def test_a_page_counts_and_names_everything() -> None:
    rows = [
        Row("a", "UNet2DModel", "proven", "1x", "2 self", "2 down", "class"),
        Row("b", "UNet3DConditionModel", "refused", "no | such class"),
    ]
    text = page(rows, ["c"])
    told = " ".join(text.split())
    assert "Of 2 that were measured, 1 are proven, 1 are refused, 0 failed" in told
    assert "| b | `UNet3DConditionModel` | no \\| such class |" in text
    assert text.endswith("## Not measured yet\n\nc\n")


def test_the_page_in_docs_is_the_scripts() -> None:
    text = PAGE.read_text()
    assert all(one["name"] in text for one in WANTED)
