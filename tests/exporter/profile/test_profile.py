"""Every kernel's time goes to the module whose weights it reads, and none is lost."""

import json
from pathlib import Path
from typing import Any

import onnx
import pytest

from exporter.errors import ParityError, UsageError
from exporter.profile import cli, run
from exporter.profile.report import ProfileReport, profile
from exporter.runtime.inlined import load_inlined
from exporter.targets import PROFILE

SIZES = {"B": 1, "H": 9, "W": 16, "S": 7, "T": 1}


@pytest.fixture(scope="module")
def file(workshop: Any) -> Path:
    exported: Path = workshop.exported("micro")
    return exported


@pytest.fixture(scope="module")
def report(file: Path) -> ProfileReport:
    return profile(file, SIZES, runs=2)


def test_times_add_up(report: ProfileReport) -> None:
    assert report.attributed >= 0.95
    kernels = sum(kernel.microseconds for kernel in report.kernels)
    assert kernels == pytest.approx(report.total, rel=0.01)
    assert sum(report.modules.values()) == pytest.approx(report.attributed * report.total)
    assert sum(report.roles.values()) == pytest.approx(report.attributed * report.total)
    assert report.inclusive[""] == pytest.approx(report.attributed * report.total)
    assert 0 < report.total <= report.wall
    assert {"resnet", "cross_attention", "upsample", "time_embedding"} <= report.roles.keys()


def test_a_kernel_belongs_to_the_module_whose_weights_it_reads(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inlined, seen = load_inlined(file, ()), list[run.Kernel]()
    owners = {
        value.name: {inlined.module(use.node) for use in value.uses()}
        for value in inlined.model.graph.initializers.values()
    }
    measure = run.measure

    def watched(*arguments: Any) -> run.Measured:
        measured = measure(*arguments)
        seen.extend(measured.kernels)
        return measured

    monkeypatch.setattr("exporter.profile.report.measure", watched)
    modules = {k.name: set(k.modules) for k in profile(file, SIZES, runs=1).kernels}
    reading = [
        (kernel.name, owners[name])
        for kernel in seen
        for name in kernel.inputs
        if owners.get(name)
    ]
    assert len(reading) > 30
    assert [name for name, owner in reading if not owner & modules[name]] == []


def test_nothing_is_left_beside_the_file(file: Path, report: ProfileReport) -> None:
    assert not list(file.parent.glob(".profile-*"))
    with pytest.raises(ParityError, match="cannot run"):
        profile(file, {**SIZES, "H": 1, "W": 0})
    assert not list(file.parent.glob(".profile-*"))


def test_what_cannot_be_profiled_is_refused(file: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--runs 0"):
        profile(file, SIZES, runs=0)
    bare = onnx.load(file, load_external_data=False)
    for node in (*bare.graph.node, *(n for f in bare.functions for n in f.node)):
        del node.metadata_props[:]
    path = tmp_path / "bare.onnx"
    onnx.save(bare, path)
    with pytest.raises(UsageError, match="says no roles"):
        profile(path, SIZES)


def test_a_kernel_that_is_not_in_the_graph_is_an_error() -> None:
    node = onnx.helper.make_node("Add", ["a", "b"], ["c"])
    graph = onnx.helper.make_graph([node], "g", [], [])
    events = [
        {"cat": "Node", "name": "Mul_0_kernel_time", "dur": 5, "args": {"op_name": "Mul"}}
    ]
    walls = [{"cat": "Session", "name": "model_run", "dur": 9}] * 2
    with pytest.raises(ParityError, match="ran Mul at 0"):
        run._read([*events * 2, *walls], graph, 1)
    with pytest.raises(ParityError, match="ran 3 kernels"):
        run._read([*events * 6, *walls], graph, 1)


def test_the_command_writes_what_it_says(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "time.json"
    case = ["--case", "B1H8W8S4", "--runs", "1", "--provider", "cpu", "--quiet"]
    assert cli.main([str(file), *case, "--report", str(target)]) == 0
    written = json.loads(target.read_text())
    assert PROFILE.holds(target)  # so that it may be written again
    assert written["format"] == 1
    assert written["attributed"] >= 0.95
    assert written["kernels"][0]["modules"]
    assert "resnet" in capsys.readouterr().out
    assert cli.main([str(file), *case, "--report", str(tmp_path / "no" / "x.json")]) == 2
