"""``python -m exporter``: exit codes, one line an error, silence in logs."""

import io
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import onnx
import onnx_ir as ir
import pytest
import torch
from rich.console import Console

import exporter.cli
import viewer
from exporter.parity import ask
from exporter.targets import EXPORT_REPORT, ONNX
from exporter.terminal import StageDisplay
from exporter.types import Progress, StageRecord
from exporter.weights.unet import load_unet
from viewer.serve.shown import Shown


def _names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture
def run(workshop, capfd):
    """``run(*arguments)`` -> exit code, stdout, stderr."""

    def run(*arguments):
        code = workshop.main(*arguments)
        return code, *capfd.readouterr()

    return run


@pytest.fixture
def corrupt(monkeypatch):
    """PyTorch's side of the check gets another bias."""

    def wrong(*arguments, **more):
        unet = load_unet(*arguments, **more)
        with torch.no_grad():
            unet.conv_in.bias.copy_(unet.conv_in.bias * 1.5)
        return unet

    monkeypatch.setattr(ask, "load_unet", wrong)


def test_a_proven_export(run, linked):
    report = linked / "report.json"
    code, out, err = run(linked / "unet.onnx", "--model", linked, "--report", report)
    assert code == 0
    assert err == ""  # no terminal, no progress
    for words in ("unet.onnx: UNet2DConditionModel of pipeline", "4 cross-attentions"):
        assert words in out
    for row in ("nodes", "roles", "weights", "parity", "seconds", "peak memory"):
        assert row in out
    assert "passed 3 cases on" in out
    assert EXPORT_REPORT.holds(report)  # so that it may be written again
    assert ONNX.holds(linked / "unet.onnx")
    values = json.loads(report.read_text())
    assert values["parity"]["verdict"] == "passed"
    assert values["target"] == str(linked / "unet.onnx")
    assert values["stages"][0]["name"] == "imports"
    assert values["seconds"] >= sum(stage["seconds"] for stage in values["stages"])
    assert values["peak_memory"] > 1e6
    assert ir.load(linked / "unet.onnx").metadata_props["atlas.model"] == "pipeline"
    assert ir.load(linked / "unet.onnx").metadata_props["atlas.timesteps"] == "[0, 999]"
    shown = Shown((viewer.load(linked / "unet.onnx"),), values)
    assert (shown.models[0].standing.text, shown.standing.text) == ("proven", "proven")
    model = onnx.load(linked / "unet.onnx", "protobuf", load_external_data=False)
    for node in (node for function in model.functions for node in function.node):
        node.op_type = "Sub" if node.op_type == "Add" else node.op_type
    (linked / "unet.onnx").write_bytes(model.SerializeToString())
    changed = viewer.load(linked / "unet.onnx").standing.text
    assert changed == "claimed, and the graph was changed since"


def test_random_weights_are_said_aloud(run, tmp_path):
    code, out, _ = run(tmp_path / "u.onnx", "--model", "tiny", "--no-check", "--seed", "7")
    assert code == 0
    assert "RANDOM WEIGHTS: random, seed 7" in " ".join(out.split())
    assert "not checked" in out


def test_options_reach_the_file(run, linked):
    options = ("--flat", "--opset", 22, "--weights", "copy", "--no-check")
    code, _, _ = run(linked / "unet.onnx", "--model", linked, *options)
    assert code == 0
    model = ir.load(linked / "unet.onnx")
    assert model.opset_imports[""] == 22
    assert not model.functions
    assert (linked / "unet.safetensors").exists()


def test_a_failed_proof_exits_1(run, linked, corrupt):
    run(linked / "unet.onnx", "--model", linked, "--no-check")
    before, content = _names(linked), (linked / "unet.onnx").read_bytes()
    code, out, err = run(linked / "unet.onnx", "--model", linked)
    assert code == 1
    assert out == ""
    assert err.startswith("error: unet.onnx differs from PyTorch at B")
    assert err.count("\n") == 1
    assert _names(linked) == before
    assert (linked / "unet.onnx").read_bytes() == content


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["u.pt"], "a name that ends in .onnx"),
        (["absent/u.onnx"], "there is no folder"),
        (["u.onnx", "--model", "sd155"], "did you mean sd15?"),
        (["u.onnx", "--model", "tiny", "--revision", "main"], "--revision main"),
        (["u.onnx", "--model", "tiny", "--opset", "11"], "--opset 11"),
        (["u.onnx", "--model", "tiny", "--weights", "link"], "--weights link"),
        (["u.onnx", "--model", "tiny", "--report", "no/r.json"], "a folder that exists"),
        (["u.onnx", "--model", "tiny", "--report", "u.onnx"], "are one file"),
        (["u.onnx", "--model", "tiny", "--report", "."], "--report ."),
        (["out", "--all", "absent"], "--all absent holds no checkpoint"),
        (["file", "--all", "pipelines"], "a folder"),
        (["out", "--all", "pipelines", "--shard", "0/2"], "--shard 0/2"),
        (["out", "--all", "pipelines", "--shard", "3/2"], "K from 1 to N"),
        (["out", "--all", "pipelines", "--shard", "half"], "--shard half"),
        (["u.onnx", "--model", "tiny", "--shard", "1/2"], "--shard 1/2 without --all"),
    ],
)
def test_bad_usage_exits_2_with_one_line(
    run, workshop, tmp_path, monkeypatch, arguments, complaint
):
    (tmp_path / "file").write_text("")
    (tmp_path / "pipelines").symlink_to(workshop.pipeline("micro").parent)
    monkeypatch.chdir(tmp_path)
    before = _names(tmp_path)
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert complaint in err
    assert err.count("\n") == 1
    assert _names(tmp_path) == before


@pytest.mark.parametrize(
    "arguments",
    [[], ["a.onnx", "--dtype", "int8"], ["a.onnx", "--provider", "npu"], ["--nope"]],
)
def test_what_argparse_refuses_exits_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        exporter.cli.main(arguments)
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert line.endswith("; see python -m exporter -h")


def test_help_has_examples_presets_and_exit_codes(capsys):
    with pytest.raises(SystemExit) as caught:
        exporter.cli.main(["-h"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for words in (
        "examples:",
        "exit codes:",
        "presets",
        "sd15",
        "sdxl-refiner",
        "--keep-fp32",
    ):
        assert words in text


def test_debug_shows_the_traceback(run, tmp_path):
    code, _, err = run(tmp_path / "u.onnx", "--model", "tiny", "--opset", "11", "--debug")
    assert code == 2
    assert "Traceback (most recent call last)" in err
    assert err.rstrip().splitlines()[-1].startswith("error: --opset 11")


def test_an_interruption_exits_130_without_traceback(run, linked, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(StageDisplay, "progress", interrupt)
    before = _names(linked)
    code, out, err = run(linked / "unet.onnx", "--model", linked, "--no-check")
    assert (code, out) == (130, "")
    assert err == "interrupted; nothing half-written was left\n"
    assert _names(linked) == before


def test_an_interruption_that_torch_turns_into_an_error(run, linked, monkeypatch):
    def interrupt(*_):
        try:
            raise KeyboardInterrupt
        finally:
            raise RuntimeError("Trying to pop empty mode stack")

    monkeypatch.setattr(StageDisplay, "progress", interrupt)
    code, _, err = run(linked / "unet.onnx", "--model", linked, "--no-check")
    assert (code, err) == (130, "interrupted; nothing half-written was left\n")


def test_what_nobody_foresaw_keeps_its_traceback(run, linked, monkeypatch):
    def fail(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr(StageDisplay, "progress", fail)
    before = _names(linked)
    with pytest.raises(RuntimeError, match="a bug"):
        run(linked / "unet.onnx", "--model", linked, "--no-check")
    assert _names(linked) == before


def test_an_unwritable_report_is_one_line(run, linked, monkeypatch):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    (linked / "full").symlink_to("/dev/full")
    monkeypatch.setattr("pathlib.Path.with_name", lambda *_: linked / "full")
    report = linked / "report.json"
    code, _, err = run(
        linked / "unet.onnx", "--model", linked, "--no-check", "--report", report
    )
    assert code == 2
    assert "report.json cannot be written: No space left on device" in err
    assert not report.exists()


def test_many_checkpoints(run, linked, tmp_path):
    pipelines, out_folder = tmp_path / "all", tmp_path / "out"
    pipelines.mkdir()
    linked.rename(pipelines / "good")
    (pipelines / "bad").mkdir()
    (pipelines / "bad" / "config.json").write_text('{"_class_name": "AutoencoderKL"}')
    report = tmp_path / "report.json"
    code, out, err = run(out_folder, "--all", pipelines, "--no-check", "--report", report)
    assert code == 2
    assert err == ""
    assert "AutoencoderKL" in out
    assert _names(out_folder) == ["good.onnx", "good.safetensors"]
    bad, good = json.loads(report.read_text())
    assert (bad["checkpoint"], good["checkpoint"]) == ("bad", "good")
    assert "AutoencoderKL" in bad["error"]
    part = ("--shard", "1/2", "--report", report)
    code, out, _ = run(tmp_path / "part", "--all", pipelines, "--no-check", *part)
    assert code == 2
    assert [one["checkpoint"] for one in json.loads(report.read_text())] == ["bad"]


@pytest.mark.parametrize("count", [1, 3, 4, 12])
def test_shards_are_disjoint_and_leave_nothing_out(count):
    folders = [Path(name) for name in "abcdefghij"]
    parts = [exporter.cli.shard(folders, f"{k}/{count}") for k in range(1, count + 1)]
    assert sorted(folder for part in parts for folder in part) == folders
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


# Progress


def _display(*, terminal, quiet=False):
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=100)
    with StageDisplay(console, quiet=quiet) as display:
        display.progress(Progress("weights", 5e8, 1e9, "B"))
        display.progress(Progress("simplify", 3, 12, "passes"))
        display.progress(Progress("trace", 1, 1, record=StageRecord("trace", 1.25)))
    return stream.getvalue()


def test_progress_in_a_terminal():
    text = _display(terminal=True)
    for words in ("500 MB of 1.00 GB", "3 of 12 passes", "trace", "1.2 s"):
        assert words in text


@pytest.mark.parametrize(("terminal", "quiet"), [(False, False), (True, True)])
def test_no_progress_elsewhere(terminal, quiet):
    assert _display(terminal=terminal, quiet=quiet).strip() == ""


# For real, in a process of its own


def _start(*arguments, **how):
    command = [
        sys.executable,
        "-W",
        "error::UserWarning:exporter",
        "-m",
        "exporter",
        *arguments,
    ]
    return subprocess.Popen(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Python leaves a signal ignored that its parent ignores, as shells do in background.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **how,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_a_real_process(linked, number):
    """Interrupted as soon as something hidden was written, in the middle of the work."""
    before = _names(linked)
    process = _start(linked / "unet.onnx", "--model", linked, "--weights", "copy")
    while process.poll() is None and _names(linked) == before:
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert process.returncode in (130, -number)  # a shell says 130 for both
    assert out == ""
    assert err == "interrupted; nothing half-written was left\n"
    assert _names(linked) == before
