"""Numbers and names that make no sense are refused in one line, before any work."""

from __future__ import annotations

from importlib import import_module

import pytest

import viewer.cli
from exporter.errors import UsageError
from exporter.parity.tolerance import require_tolerances
from exporter.plan import make_plan
from exporter.types import ExportRequest


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("exporter", ["u.onnx", "--seed", "-1"]),
        ("exporter", ["u.onnx", "--seed", "9" * 5000]),
        ("exporter.parity", ["u.onnx", "--seed", "-1"]),
        ("exporter.parity", ["u.onnx", "--guidance", "nan"]),
        ("exporter.profile", ["u.onnx", "--runs", "0"]),
        ("exporter.profile", ["u.onnx", "--runs", "²"]),
        ("exporter.profile", ["u.onnx", "--depth", "-1"]),
        ("exporter.sample", ["u.onnx", "--guidance", "inf"]),
        ("exporter.sample", ["u.onnx", "--guidance", "-7"]),
        ("viewer", ["u.onnx", "--max-nodes", "0"]),
        ("viewer", ["u.onnx", "--max-nodes", "9" * 5000]),
        ("viewer", ["u.onnx", "--port", "-1"]),
        ("viewer", ["u.onnx", "--port", "65536"]),
        ("exporter.profile", []),
        ("exporter.profile", ["u.onnx", "--nope"]),
    ],
)
def test_it_is_refused_in_one_line(command, line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        import_module(f"{command}.cli").main(line)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert not line or line[-1][:9] in error


def test_bounds_belong_to_what_is_taken():
    parse = viewer.cli.command_line().parse_args
    assert parse(["u.onnx", "--port", "0", "--max-nodes", "1"]).port == 0
    assert (
        import_module("exporter.profile.cli")._parser().parse_args(["u", "--runs", "1"]).runs
    )


def test_a_limit_of_no_noise_at_all():
    with pytest.raises(UsageError, match="floor factor of 0"):
        require_tolerances(None, None, 0.0)
    require_tolerances(None, None, 0.5)


def test_a_module_without_a_name_is_not_kept(tmp_path):
    request = ExportRequest(tmp_path / "u.onnx", model="tiny", dtype="fp16", keep_fp32=("",))
    with pytest.raises(UsageError, match='--keep-fp32 ""'):
        make_plan(request)
