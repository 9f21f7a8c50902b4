from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from tests.viewer.tiny import build
from viewer.cli import main
from viewer.serve import headless


def test_help_is_worth_reading(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["-h"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for word in (
        "--host",
        "--port",
        "--no-browser",
        "--html",
        "--png",
        "examples:",
        "exit codes",
    ):
        assert word in text


@pytest.mark.parametrize("content", [None, b"", b"garbage"])
def test_a_bad_file_is_one_line_and_code_2(tmp_path, capsys, content):
    path = tmp_path / "bad.onnx"
    if content is not None:
        path.write_bytes(content)
    assert main([str(path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def test_the_offline_page_is_written_whole_or_not_at_all(tiny, tmp_path, capsys):
    target = tmp_path / "page.html"
    assert main([str(tiny), "--html", str(target)]) == 0
    assert target.read_text().startswith("<!doctype html>")
    assert main([str(tiny), "--html", str(tmp_path / "no" / "page.html")]) == 2
    assert [entry.name for entry in tmp_path.iterdir()] == ["page.html"]
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["[]", "{", None])
def test_a_bad_report_is_one_line(tiny, tmp_path, capsys, content):
    report = tmp_path / "report.json"
    if content is not None:
        report.write_text(content)
    target = tmp_path / "page.html"
    assert main([str(tiny), "--report", str(report), "--html", str(target)]) == 2
    assert not target.exists()
    assert "report" in capsys.readouterr().err


def test_a_report_beside_the_model_is_found(tmp_path, capsys):
    path = build(tmp_path / "unet.onnx")
    path.with_suffix(".report.json").write_text(json.dumps({"blocks": {"mid_block": 1e-5}}))
    assert main([str(path), "--html", str(tmp_path / "page.html")]) == 0
    assert '"blocks":{"mid_block":1e-05}' in (tmp_path / "page.html").read_text()


def test_no_browser_to_draw_with(tiny, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("ATLAS_BROWSER", "no-such-browser")
    assert main([str(tiny), "--png", str(tmp_path / "u.png")]) == 2
    assert "ATLAS_BROWSER" in capsys.readouterr().err


def test_drawn_from_the_command_line(tiny, tmp_path, chromium, capsys):
    png, svg = tmp_path / "u.png", tmp_path / "u.svg"
    assert main([str(tiny), "--png", str(png), "--svg", str(svg), "--at", "?tab=trace"]) == 0
    assert png.read_bytes().startswith(b"\x89PNG")
    assert "down_blocks.0" in svg.read_text()
    assert "<script" not in svg.read_text()


def test_there_may_be_nothing_to_draw(tiny, tmp_path, chromium, capsys):
    assert main([str(tiny), "--svg", str(tmp_path / "u.svg"), "--view", "figure"]) == 2
    assert "no figure" in capsys.readouterr().err
    assert not (tmp_path / "u.svg").exists()


def test_the_browser_is_looked_for_by_name(monkeypatch):
    monkeypatch.delenv("ATLAS_BROWSER", raising=False)
    monkeypatch.setattr(headless.shutil, "which", {"chrome": "/opt/chrome"}.get)
    assert headless.find_browser() == "/opt/chrome"


def test_serves_until_it_is_ended(tiny):
    command = [sys.executable, "-m", "viewer", str(tiny), "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        assert re.search(r"tiny: http://127\.0\.0\.1:\d+/", line)
    finally:
        process.terminate()
        process.communicate(timeout=10)
