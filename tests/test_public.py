"""The documented names, and the example that the README shows."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import exporter
import unet_atlas
import viewer
from exporter.errors import UsageError

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "diffusers", "onnx", "onnx_ir", "onnxruntime", "numpy", "rich"}


def test_every_public_name_is_there_and_documented():
    for package, names in ((exporter, ["check", "export"]), (viewer, ["load"])):
        assert package.__all__ == names
        assert all(getattr(package, name).__doc__ for name in names)


def test_importing_costs_nothing():
    code = "import sys, exporter, viewer, unet_atlas; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not HEAVY & set(done.stdout.split())


def test_the_example_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    kinds = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert kinds == [
        "time",
        "conv_in",
        "down",
        "down",
        "down",
        "mid",
        "up",
        "up",
        "up",
        "conv_out",
    ]
    with pytest.raises(UsageError, match="as ddpm takes"):
        exporter.check("unet.onnx", "ddpm")


def test_what_does_not_exist_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"missing\.onnx"):
        exporter.check(tmp_path / "missing.onnx", "tiny")
    with pytest.raises(TypeError, match="colour"):
        exporter.export(tmp_path / "unet.onnx", "tiny", colour="blue")


@pytest.mark.parametrize(("name", "says"), [("nope", "error: nope"), ("", "no command")])
def test_a_command_that_does_not_exist(name, says, capsys):
    assert unet_atlas.main([name] if name else []) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert says in err
    assert all(command in err for command in unet_atlas.COMMANDS)


def test_help_names_every_command(capsys):
    assert unet_atlas.main(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(command in said for command in unet_atlas.COMMANDS)
