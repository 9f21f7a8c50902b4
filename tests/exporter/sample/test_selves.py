"""--self: where every place looks, in self-attentions that are small enough."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporter.errors import UsageError
from exporter.sample.cli import main
from exporter.sample.plan import RecordRequest
from exporter.sample.record import record
from tests.exporter.sample.tinysd import read


@pytest.fixture
def asked(request_: RecordRequest, tmp_path: Path) -> RecordRequest:
    target = tmp_path / "run.safetensors"
    bare = replace(request_, target=target, prompt="", text_encoder=None, vae=None)
    return replace(bare, steps=2, size=(9, 8), compare=True)


def test_those_that_fit_are_kept_and_add_up(asked: RecordRequest):
    report = record(replace(asked, self_places=20))
    assert report.largest_difference == 0  # it changes no bit either
    found = read(asked.target)
    levels = [one["level"] for one in found.metadata["selves"]]
    assert set(levels) == {1, 2}  # 5x4 and 3x2 places; level 0 has 72
    for index, level in enumerate(levels):
        maps = found.tensors[f"attention.self.{index}"]
        height, width = ((9, 8), (5, 4), (3, 2))[level]
        assert maps.shape == (2, 2, height * width, height, width)
        np.testing.assert_allclose(maps.sum((-2, -1)), 1, 1e-5)
    before = asked.target.stat().st_size
    record(asked)
    assert "selves" not in read(asked.target).metadata
    kept = sum(t.nbytes for name, t in found.tensors.items() if ".self." in name)
    assert 0 <= before - asked.target.stat().st_size - kept < 4096  # and its own header


@pytest.mark.parametrize(
    ("places", "maps", "message"),
    [
        (5, "float32", "--self 5; expected 6 or more"),
        (1025, "float32", "--self 1025; expected 1 to 1024"),
        (-1, "float32", "--self -1; expected 1 to 1024"),
        (9, "none", "--self with --maps none"),
    ],
)
def test_what_is_refused(asked: RecordRequest, places: int, maps: Any, message: str):
    with pytest.raises(UsageError, match=message):
        record(replace(asked, self_places=places, maps=maps))
    assert not asked.target.exists()


def test_the_command_line(asked: RecordRequest, capsys: Any):
    line = [str(asked.model), str(asked.target), "--steps", "1", "--size", "8x8", "--quiet"]
    assert main([*line, "--self", "16"]) == 0
    assert any(".self." in name for name in read(asked.target).tensors)
    assert main([*line, "--self", "2"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
