"""``action.yml``: the script of its check, run as a runner would run it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from exporter.parity.cli import main
from tests.exporter.conftest import Workshop
from tests.exporter.parity.edits import inject
from tests.exporter.parity.fault_set import FAULTS

ROOT = Path(__file__).parents[3]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
CHECK = next(step for step in ACTION["runs"]["steps"] if step.get("id") == "check")

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="a runner has bash")


def _act(folder: Path, **inputs: str) -> subprocess.CompletedProcess[str]:
    """Runs the check in a folder of its own, as ``shell: bash`` does."""
    temporary = folder / "temp"
    command = temporary / "unet-atlas" / "bin" / "unet-atlas"
    command.parent.mkdir(parents=True)
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m unet_atlas "$@"\n')
    command.chmod(0o755)
    given = {name: spec.get("default", "") for name, spec in ACTION["inputs"].items()}
    given |= inputs
    environment = {
        name: text.replace("${{ inputs.", "").replace(" }}", "")
        for name, text in CHECK["env"].items()
    }
    script = folder / "script.sh"
    script.write_text(CHECK["run"])
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "RUNNER_TEMP": str(temporary),
            "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
            "GITHUB_OUTPUT": str(folder / "output"),
            **{name: given.get(text, text) for name, text in environment.items()},
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_input_reaches_the_check() -> None:
    used = {text for text in CHECK["env"].values() if text.startswith("${{")}
    wanted = {f"${{{{ inputs.{name} }}}}" for name in ACTION["inputs"]}
    assert used == wanted - {"${{ inputs.python-version }}"}
    assert "${{" not in CHECK["run"]  # an input is never pasted into a script


def test_a_wrong_file_fails_with_summary_junit_and_the_module(
    workshop: Workshop, tmp_path: Path
) -> None:
    right = workshop.exported("micro")
    wrong = inject(right, right.with_name("act.onnx"), FAULTS["K and V exchanged"].edit)
    done = _act(
        tmp_path,
        file=str(wrong),
        model=str(right.parent),
        arguments="--case B1H8W9S7 --provider cpu",
    )
    assert done.returncode == 1, done.stderr
    module = FAULTS["K and V exchanged"].module
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("::")]
    assert line.startswith(f"::error title=act.onnx%3A {module}::located on B1H8W9S7")
    assert "Attention" in line
    assert module in (tmp_path / "summary.md").read_text().replace("\\", "")
    suite = ElementTree.parse(tmp_path / "parity" / "parity.xml").getroot()[0]
    assert suite.attrib["failures"] == "1"
    told = dict(line.split("=") for line in (tmp_path / "output").read_text().splitlines())
    assert told == {"report": "parity/parity.json", "junit": "parity/parity.xml"}
    assert (tmp_path / told["report"]).is_file()


def test_what_cannot_be_checked_fails_with_the_reason(tmp_path: Path) -> None:
    done = _act(tmp_path, file="absent.onnx", model="tiny")
    assert done.returncode == 2
    assert "absent.onnx" in done.stderr
    assert not (tmp_path / "summary.md").exists()


def test_a_right_file_is_a_notice(workshop: Workshop, tmp_path: Path) -> None:
    right = workshop.exported("micro")
    told = tmp_path / "annotations.txt"
    argv = [str(right), "--model", str(right.parent), "--case", "B1H8W9S7", "--quiet"]
    assert main([*argv, "--provider", "cpu", "--annotations", str(told)]) == 0
    assert told.read_text().startswith("::notice title=unet.onnx%3A parity::worst B1H8W9S7")
