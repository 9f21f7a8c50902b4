"""Profiles as the viewer reads them."""

from __future__ import annotations

import json

import pytest

from viewer.cli import main
from viewer.errors import ReportError
from viewer.model import profile_report

GOOD = {"wall": 3.0, "total": 2.0, "kernels": [1], "inclusive": {"": 2.0, "mid_block": 1}}


def test_a_profile_is_read_without_its_kernels(tmp_path):
    path = tmp_path / "unet.profile.json"
    path.write_text(json.dumps(GOOD))
    found = profile_report.read(path)
    assert found == {key: GOOD[key] for key in ("wall", "total", "inclusive")}
    assert profile_report.beside(tmp_path / "unet.onnx") == path
    assert profile_report.beside(tmp_path / "other.onnx") is None


@pytest.mark.parametrize(
    "inclusive", [None, [], {"a": "x"}, {"a": -1}, {"a": True}, {"a": None}, 3]
)
def test_what_is_no_profile_is_refused(tmp_path, inclusive, tiny, capsys):
    path = tmp_path / "p.json"
    path.write_text(json.dumps({**GOOD, "inclusive": inclusive}))
    with pytest.raises(ReportError, match="is no profile"):
        profile_report.read(path)
    assert main([str(tiny), "--profile", str(path), "--html", str(tmp_path / "u.html")]) == 2
    assert "what exporter.profile --report writes" in capsys.readouterr().err
