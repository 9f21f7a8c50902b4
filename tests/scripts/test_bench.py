"""The benchmark: its arithmetic, its table, and one round of it on a tiny UNet."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch

from bench_tools import bench, steps, table
from bench_tools.__main__ import COMMANDS
from bench_tools.__main__ import main as bench_main
from bench_tools.bench import measure
from bench_tools.figures import cell, ratio_text, share, size
from bench_tools.peer import Job, Peer
from bench_tools.plan import Plan
from bench_tools.process import RunError, run, timed
from bench_tools.result import Result, Row
from bench_tools.roster import PEERS, chosen
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


def test_a_peer_brings_what_it_builds_on_and_nothing_else():
    assert [peer.name for peer in chosen(["onnxslim"])] == ["torch-dynamo", "onnxslim"]
    assert [peer.name for peer in chosen(["atlas-unchecked"])] == ["atlas-unchecked"]
    assert chosen([]) == PEERS
    with pytest.raises(ValueError, match="no peer onnxslimm"):
        chosen(["onnxslimm"])
    names = [peer.name for peer in PEERS]
    assert all(names.index(p.source) < names.index(p.name) for p in PEERS if p.source)


def test_the_table_has_the_error_of_a_peer_that_failed():
    rows = (
        Row(PEERS[0], {"torch": "2"}, ({"wall": 4.0},), {}),
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


@pytest.fixture
def unseen(monkeypatch):
    """Nobody looks into the graphs."""
    monkeypatch.setitem(steps.STEPS, "graph", lambda *_: {"nodes": 1.0})


@pytest.fixture
def subject(monkeypatch, tiny_pipeline):
    """The checkpoint is there; nobody has to measure PyTorch on it."""

    def copy(plan: Plan, folder: Path) -> float:
        shutil.copytree(tiny_pipeline / "unet", folder / "checkpoint")
        return 1.0

    monkeypatch.setattr(bench, "_make_subject", copy)


def test_rounds_are_interleaved_and_leave_nothing(tmp_path, subject):
    dot = "digraph {\n 1 [label=a]\n 2 [label=b]\n 1 -> 2\n}"
    good = _writes("good", f"import sys; open(sys.argv[1], 'w').write({dot!r})")
    bad = _writes("bad", "raise SystemExit('error: not today')", source="good")
    told: list[str] = []
    plan = Plan("tiny", (good, bad), 2, tmp_path, 60)
    result = measure(plan, told.append)
    order = [step.partition(":")[0] for step in told[-4:]]
    assert order == ["round 1/2, good", "round 1/2, bad", "round 2/2, good", "round 2/2, bad"]
    first, failed = result.rows
    assert first.rounds[0]["nodes"] == 2
    assert [one["written"] for one in first.rounds] == [len(dot), len(dot)]
    assert failed.errors == {"export": "error: not today"}
    assert failed.rounds == ({}, {})
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_run_goes_on(tmp_path, subject, unseen):
    """After a peer that the next one takes from: its file is written again, untimed."""
    copy = (
        "import shutil, sys; shutil.copy(sys.argv[1].replace('second', 'first'), sys.argv[1])"
    )
    first = _writes("first", "import sys; open(sys.argv[1], 'w').write(' 1 [label=a]')")
    second = _writes("second", copy, source="first")
    plan = Plan("tiny", (first, second), 2, tmp_path, 60)
    known: list[Result] = []

    def interrupt(result: Result) -> None:
        known.append(result)
        if len(known) == 3:
            raise KeyboardInterrupt

    stopped = measure(plan, print, interrupt)
    assert [len(row.rounds) for row in stopped.rows] == [2, 1]
    assert "last of them unfinished" in table.note(stopped)
    again = Result.from_json(json.loads(json.dumps(stopped.to_json())), plan.peers)
    told: list[str] = []
    result = measure(plan, told.append, earlier=again)
    assert [step.partition(":")[0] for step in told[1:]] == ["round 2/2, second"]
    assert [row.errors for row in result.rows] == [{}, {}]
    assert result.rows[0].rounds == stopped.rows[0].rounds
    assert len(result.rows[1].rounds) == 2
    assert "after 1 interruption" in table.note(result)
    other = Plan("tiny", (first,), 2, tmp_path, 60)
    with pytest.raises(RunError, match="another peers"):
        measure(other, print, earlier=again)


def test_an_equal_graph_is_not_run_again(tmp_path, subject, unseen, monkeypatch):
    def writes(name: str, producer: str, nodes: int) -> Peer:
        code = f"""
import onnx, sys
text = '<ir_version: 10, opset_import: ["": 21]> g (float[N] x) => (float[N] y) {{'
model = onnx.parser.parse_model(text + {nodes} * ' y = Neg(x) ' + '}}')
model.metadata_props.add(key='parity', value={producer!r})
onnx.save(model, sys.argv[1])
"""
        command = _writes(name, code).command
        return Peer(name, name, command, viewer=None)

    ran: list[str] = []

    def run_(record, *_):
        ran.append(record.peer.name)
        return {"session": 1.0, "latency": 2.0}

    monkeypatch.setitem(steps.STEPS, "run", run_)
    peers = (writes("a", "passed", 1), writes("b", "skipped", 1), writes("c", "passed", 2))
    result = measure(Plan("tiny", peers, 1, tmp_path, 60), print)
    assert ran == ["a", "c"]
    one, same, other = result.rows
    assert "latency" not in same.rounds[0]
    assert (result.twin(one), result.twin(same), result.twin(other)) == (None, one, None)
    assert "very graph of “a”" in table.markdown(result)


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


@pytest.mark.parametrize("name", COMMANDS)
def test_every_benchmark_has_its_help(name, capsys):
    with pytest.raises(SystemExit, match="0"):
        bench_main([name, "-h"])
    assert f"usage: scripts/bench {name}" in capsys.readouterr().out


def test_a_benchmark_that_does_not_exist(capsys):
    assert bench_main(["speed"]) == bench_main([]) == 2
    assert "peers|floor|scale|gpu" in capsys.readouterr().err


def test_the_sampler_is_compared_within_a_round():
    from bench_tools import sampling

    loop = [
        {"cpu": 2.0, "open": 1.0, "memory": 100.0},
        {"cpu": 4.0, "open": 1.0, "memory": 100.0},
    ]
    graph = [
        {"cpu": 2.0, "open": 1.2, "memory": 100.0},
        {"cpu": 4.2, "open": 1.2, "memory": 90.0},
    ]
    rounds = {"loop": loop, "graph": graph, "unpacked": loop}
    lines = sampling.markdown(rounds, "here").splitlines()
    assert "×1.02 (1–1.05) | 1.02: missed" in lines[2]  # 1.025 is above the goal
    assert "×1.2 (1.2–1.2) | 1.1: missed" in lines[3]
    assert "×0.95 (0.9–1) | 1.1: met" in lines[4]
    assert lines[7].startswith("| graph, `session.disable_prepacking` | peak memory |")
    assert "×1 (1–1) | 1.1: met" in lines[7]
