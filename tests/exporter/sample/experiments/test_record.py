"""Experiments in a whole recording."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from exporter.sample.cli import main
from exporter.sample.experiments import wish as wishes
from exporter.sample.plan import RecordRequest
from exporter.sample.record import record
from tests.exporter.sample.tinysd import Read, read


def recorded(request: RecordRequest, target: Path, *asked: wishes.Wish, **how: Any) -> Read:
    wanted = replace(request, target=target, steps=3, vae=None, compare=False, wishes=asked)
    report = record(replace(wanted, **how))
    if how.get("compare"):
        assert report.largest_difference == 0
    return read(target)


def test_none_is_the_plain_run_bit_for_bit(request_: RecordRequest, tmp_path: Path):
    target = tmp_path / "plain.safetensors"
    plain = recorded(request_, target, compare=True)
    again = recorded(request_, target)
    assert "experiments" not in plain.metadata
    for name, tensor in again.tensors.items():
        if name != "seconds":
            assert tensor.tobytes() == plain.tensors[name].tobytes(), name


def test_an_experiment_acts_at_its_steps_and_is_written_down(
    request_: RecordRequest, tmp_path: Path
):
    target = tmp_path / "run.safetensors"
    before = request_.model.read_bytes()
    plain = recorded(request_, target)
    asked = (wishes.without("skip:3@2"), wishes.masked("red@2-"))
    edited = recorded(request_, target, *asked, compare=True)  # watching changes no bit of it
    assert [e["kind"] for e in edited.metadata["experiments"]] == ["word", "skip"]
    skip = [s["id"] for s in edited.metadata["skips"]].index("3")
    arrived, own = edited.tensors["skip.skip"], plain.tensors["skip.skip"]
    np.testing.assert_allclose(arrived[0], own[0], 1e-5)
    assert (arrived[1, :, skip] == 0).all()
    assert (arrived[2] > 0).all()
    np.testing.assert_allclose(edited.tensors["latents"][1], plain.tensors["latents"][1], 1e-5)
    assert np.abs(edited.tensors["latents"][2] - plain.tensors["latents"][2]).max() > 1e-3
    red = edited.metadata["prompt"]["tokens"][1].index("red")
    maps = edited.tensors["attention.map.0"]
    assert (maps[1:, 1, red] == 0).all()  # what is recorded is what happened
    assert (maps[0, 1, red] > 0).all()
    assert (maps[:, 0, red] > 0).all()  # the unconditional half is another text
    np.testing.assert_allclose(maps.sum(2), 1, 1e-5)
    assert request_.model.read_bytes() == before


def test_the_command_line(folded: Path, tmp_path: Path, capsys: Any):
    target = str(tmp_path / "run.safetensors")
    run = [str(folded), target, "--steps", "2", "--size", "8x8", "--quiet", "--maps", "none"]
    assert (
        main([*run, "--without", "skip:0", "--scale", "time:all=0.5@1", "--freeu", "1,1,2,2"])
        == 0
    )
    assert "experiment: skip:0=0, time:all=0.5@1, freeu=1,1,2,2" in capsys.readouterr().out
    for bad, said in (
        (["--without", "skip:99"], "no such skip; expected 0 to"),
        (["--without", "cross:up_blocks.9.attn2"], "no such module; nearest: up_blocks."),
        (["--without", "attn:down_blocks.0.resnets.0"], "a resnet; expected what attentions"),
        (["--mask-token", "cat"], "no word 'cat' in the prompt"),
        (["--mask-token", "#1/down_blocks.0.resnets.0"], "a resnet; expected what cross-"),
        (["--sweep", "3", "--without", "skip:0"], "--sweep"),
    ):
        assert main([*run, *bad]) == 2
        told = capsys.readouterr().err
        assert told.count("\n") == 1, told
        assert told.startswith("error: ")
        assert said in told
