"""The benchmark: its arithmetic, its table, and one round of it on a tiny UNet."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch

from bench_tools import bench, table
from bench_tools.bench import Plan, measure
from bench_tools.figures import cell, ratio_text, share, size
from bench_tools.peer import Job, Peer
from bench_tools.process import RunError, run, timed
from bench_tools.result import Result, Row
from bench_tools.roster import PEERS, REFERENCE, chosen
from bench_tools.workers import anatomy, checkpoint, reference, session
from exporter.pipeline import export
from exporter.source import load_source
from exporter.types import ExportRequest


def test_ratios_are_taken_within_a_round():
    ours = [{"wall": 10.0}, {"wall": 20.0}, {"wall": 10.0}]  # the machine slowed down once
    theirs = [{"wall": 20.0}, {"wall": 60.0}, {"wall": 21.0}]
    found = cell("wall", theirs, ours)
    assert (found.median, found.ratio, found.low, found.high) == (21.0, 2.1, 2.0, 3.0)
    assert ratio_text(found) == "×2.1 (2–3)"


def test_a_round_that_failed_is_paired_with_nothing():
    found = cell("wall", [{}, {"wall": 6.0}], [{"wall": 1.0}, {"wall": 3.0}])
    assert (found.rounds, found.ratio) == (1, 2.0)
    assert cell("wall", [{}, {}], [{"wall": 1.0}, {"wall": 3.0}]) is None


def test_a_ratio_to_nothing_is_not_given():
    found = cell("functions", [{"functions": 3.0}], [{"functions": 0.0}])
    assert (found.median, found.ratio, ratio_text(found)) == (3.0, None, "")


def test_nothing_is_rounded_up_to_everything():
    assert (share(1.0), share(0.9999), share(0.0)) == ("100 %", "99.9 %", "0 %")
    assert (size(999e6), size(1.004e9)) == ("999 MB", "1.00 GB")


def test_a_peer_brings_what_it_builds_on_and_the_reference():
    assert [peer.name for peer in chosen(["onnxslim"])] == [
        "atlas",
        "torch-dynamo",
        "onnxslim",
    ]
    assert chosen([]) == PEERS
    with pytest.raises(ValueError, match="no peer onnxslimm"):
        chosen(["onnxslimm"])
    names = [peer.name for peer in PEERS]
    assert all(names.index(p.source) < names.index(p.name) for p in PEERS if p.source)


def test_the_table_has_the_error_of_a_peer_that_failed():
    rows = (
        Row(REFERENCE, {"torch": "2"}, ({"wall": 4.0},), {}),
        Row(PEERS[-1], {}, ({"wall": 8.0},), {"run": "no kernel | for Foo"}),
    )
    text = table.markdown(Result("tiny", "abc", {"processor": "x"}, (0.5,), 1.0, rows))
    failed = next(line for line in text.splitlines() if PEERS[-1].title in line)
    assert "run failed: no kernel \\| for Foo" in failed
    assert "8 s<br>×2 " in failed


def test_a_process_is_timed_with_its_memory():
    took = timed([sys.executable, "-c", "b = b'x' * 200_000_000; print(1)"], Path(), 60)
    assert took.output == "1\n"
    assert 200e6 < took.memory < 400e6
    assert 0 < took.cpu < 60
    assert 0 < took.wall < 60


def test_a_process_that_fails_says_why():
    with pytest.raises(RunError, match=r"^ValueError: seven$"):
        run([sys.executable, "-c", "raise ValueError('seven')"], Path(), 60)
    with pytest.raises(RunError, match="not done after"):
        run([sys.executable, "-c", "import time; time.sleep(60)"], Path(), 0.2)


def _writes(name: str, code: str, **options) -> Peer:
    def command(job: Job) -> list[str]:
        return [sys.executable, "-c", code, str(job.target)]

    return Peer(name, name, command, "out.dot", runs=False, viewer=None, **options)


def test_rounds_are_interleaved_and_leave_nothing(tmp_path, monkeypatch, tiny_pipeline):
    def subject(plan: Plan, folder: Path) -> float:
        shutil.copytree(tiny_pipeline / "unet", folder / "checkpoint")
        return 1.0

    monkeypatch.setattr(bench, "_make_subject", subject)
    dot = "digraph {\n 1 [label=a]\n 2 [label=b]\n 1 -> 2\n}"
    good = _writes("good", f"import sys; open(sys.argv[1], 'w').write({dot!r})")
    bad = _writes("bad", "raise SystemExit('error: not today')", source="good")
    steps: list[str] = []
    plan = Plan("tiny", (good, bad), 2, tmp_path, 60)
    result = measure(plan, steps.append)
    order = [step.partition(":")[0] for step in steps[-4:]]
    assert order == ["round 1/2, good", "round 1/2, bad", "round 2/2, good", "round 2/2, bad"]
    first, failed = result.rows
    assert first.rounds[0]["nodes"] == 2
    assert [one["written"] for one in first.rounds] == [len(dot), len(dot)]
    assert failed.errors == {"export": "error: not today"}
    assert failed.rounds == ({}, {})
    assert list(tmp_path.iterdir()) == []


def test_one_graph_is_measured(tmp_path, capsys, save_unet):
    def said() -> dict[str, float]:
        return json.loads(capsys.readouterr().out)

    folder = save_unet(
        tmp_path / "checkpoint",
        down_block_types=["DownBlock2D", "CrossAttnDownBlock2D"],
        up_block_types=["CrossAttnUpBlock2D", "UpBlock2D"],
        block_out_channels=[32, 64],
    )
    capsys.readouterr()
    reference.main(str(folder), str(tmp_path / "reference.npz"))
    assert said()["eager"] > 0
    model = tmp_path / "unet.onnx"
    report = export(ExportRequest(model, model=str(folder), check=False))
    session.main(str(model), str(tmp_path / "reference.npz"))
    took = said()
    assert took["difference"] < 1e-5
    assert min(took["session"], took["latency"]) > 0
    anatomy.main(str(model), str(folder))
    found = said()
    assert (found["nodes"], found["functions"]) == (report.nodes_top, report.functions)
    assert found["weight_transposes"] == report.weight_transposes
    assert found["operators"] == report.nodes_flat - report.weight_transposes
    assert found["coverage"] == 1.0


def test_a_subject_is_a_checkpoint_with_the_presets_weights(tmp_path, capsys):
    folder = tmp_path / "checkpoint"
    checkpoint.main("tiny", "{}", str(folder))
    size = json.loads(capsys.readouterr().out)["bytes"]
    assert size == (folder / "diffusion_pytorch_model.safetensors").stat().st_size
    ours, preset = load_source(str(folder)).weights, load_source("tiny").weights
    name = "mid_block.resnets.0.conv1.weight"
    assert torch.equal(ours.read(name), preset.read(name))


def test_a_deeper_and_a_wider_unet():
    config = {"block_out_channels": [32, 64], "transformer_layers_per_block": [1, 2]}
    deeper = checkpoint.changed(config, depth=4)
    assert deeper["transformer_layers_per_block"] == [4, 8]
    assert checkpoint.changed(config, channels=2)["block_out_channels"] == [64, 128]
