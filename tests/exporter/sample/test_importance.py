"""--importance: each part off in turn, resumable, as a table."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from exporter.denoising.loop import denoise
from exporter.errors import TargetError, UsageError
from exporter.runtime.session import open_session
from exporter.sample.cli import main
from exporter.sample.experiments.wish import without
from exporter.sample.importance import run
from exporter.sample.importance.ledger import Ledger
from exporter.sample.importance.measure import Loss
from exporter.sample.importance.plan import plan_importance
from exporter.sample.plan import RecordRequest, make_plan
from exporter.sample.record import record
from tests.exporter.sample.tinysd import read


@pytest.fixture
def asked(request_: RecordRequest, tmp_path: Path) -> RecordRequest:
    target = tmp_path / "table.json"
    bare = replace(request_, target=target, prompt="", compare=False, vae=None)
    return replace(bare, steps=2, size=(8, 8), maps="none")


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    file = tmp_path / "prompts.txt"
    file.write_text("a red cat\n\na hat\n")
    return file


@pytest.fixture
def two_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A skip and a block alone: the tests want the numbers, not the hour."""
    chosen = (without("skip:1"), without("block:mid_block"))
    monkeypatch.setattr("exporter.sample.importance.plan.parts", lambda _: chosen)


def test_every_skip_attention_and_block(asked: RecordRequest, prompts: Path):
    plan = plan_importance(asked, prompts)
    kinds = [wish.kind for wish in plan.wishes]
    count = {kind: kinds.count(kind) for kind in set(kinds)}
    found = plan.points
    assert plan.prompts == ("a red cat", "a hat")
    assert count["skip"] == len(found.skips)
    assert count["cross"] == count["self"] == len(found.attentions)
    assert count["block"] == 7  # three down, the middle, three up
    assert [plan.image(index).seed for index in (0, 1)] == [asked.seed, asked.seed + 1]


@pytest.mark.usefixtures("two_parts")
def test_its_numbers_are_those_of_recordings(
    asked: RecordRequest, prompts: Path, tmp_path: Path
):
    prompts.write_text("a red cat")
    table = run.importance(asked, prompts).table
    latents = []
    for wishes in ((), (without("skip:1"),)):
        target = tmp_path / "one.safetensors"
        record(replace(asked, target=target, prompt="a red cat", wishes=wishes))
        latents.append(read(target).tensors["latents"][-1].astype(np.float64))
    plain, cut = latents
    loss = np.sqrt(np.mean((cut - plain) ** 2) / np.mean(plain**2))
    assert table.parts[0].image == pytest.approx(loss, rel=1e-3)
    assert set(table.parts[0].words) == {"a", "red", "cat"}


@pytest.mark.usefixtures("two_parts")
def test_a_step_alone_is_judged_where_the_image_was(asked: RecordRequest, prompts: Path):
    """The prediction of the second step follows the plain first one."""
    table = run.importance(asked, prompts).table
    plan = make_plan(replace(asked, prompt="a red cat"), plan_importance(asked, prompts).model)
    plain, fed = open_session(asked.model, "cpu"), []

    def predict(inputs: Any) -> torch.Tensor:
        fed.append(inputs)
        return torch.from_numpy(plain.run(inputs)["out_sample"])

    list(denoise(plan.loop, predict))
    assert len(fed) == len(table.parts[0].prediction) == 2
    assert all(0 < step < 10 for part in table.parts for step in part.prediction)


@pytest.mark.usefixtures("two_parts")
def test_an_interrupted_table_goes_on(
    asked: RecordRequest, prompts: Path, monkeypatch: pytest.MonkeyPatch
):
    whole = run.importance(asked, prompts).table.to_json()
    asked.target.unlink()
    real, left = run.measure, iter(range(3))

    def interrupted(*arguments: Any) -> Loss:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(run, "measure", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.importance(asked, prompts)
    assert not asked.target.exists()
    (ledger,) = asked.target.parent.glob(".*.jsonl")
    ledger.write_text(ledger.read_text()[:-20])  # the last line cut off
    monkeypatch.setattr(run, "measure", real)
    report = run.importance(asked, prompts)
    assert report.resumed == 2
    assert report.table.to_json() == whole
    assert not ledger.exists()
    assert json.loads(asked.target.read_text()) == whole


def test_another_question_begins_anew(tmp_path: Path):
    target, loss = tmp_path / "t.json", Loss(0.5, (0.1, 0.2), {"red": (1.0, 2.0)})
    Ledger(target, {"steps": 2}).add(0, "skip:1=0", loss)
    assert Ledger(target, {"steps": 2}).found == {(0, "skip:1=0"): loss}
    assert not Ledger(target, {"steps": 3}).found


@pytest.mark.usefixtures("two_parts")
def test_the_command_line(
    asked: RecordRequest, prompts: Path, whole_pipeline: Path, capsys: Any
):
    line = [str(asked.model), str(asked.target), "--importance", str(prompts), "--quiet"]
    line += ["--steps", "2", "--size", "8x8", "--pipeline", str(whole_pipeline)]
    (whole_pipeline / "model_index.json").write_text("{}")
    assert main(line) == 0
    assert "2 prompts, 2 parts, 4 images" in capsys.readouterr().out
    found = json.loads(asked.target.read_text())
    assert [part["part"] for part in found["parts"]] == ["skip:1=0", "block:mid_block=0"]
    rows = asked.target.with_suffix(".md").read_text().splitlines()
    assert sum(row.startswith("| `") for row in rows) == 2
    assert asked.target.with_suffix(".svg").read_text().startswith("<?xml")


def test_what_is_refused(asked: RecordRequest, prompts: Path, tmp_path: Path):
    with pytest.raises(UsageError, match="--importance with a prompt"):
        plan_importance(replace(asked, prompt="a"), prompts)
    with pytest.raises(UsageError, match="without --pipeline"):
        plan_importance(replace(asked, text_encoder=None), prompts)
    with pytest.raises(UsageError, match="cannot be read"):
        plan_importance(asked, tmp_path / "absent.txt")
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(UsageError, match="0 prompts"):
        plan_importance(asked, tmp_path / "empty.txt")
    asked.target.with_suffix(".md").write_text("someone's")
    with pytest.raises(TargetError, match=r"table.md is not a table"):
        plan_importance(asked, prompts)
