"""Optimum's pipeline with our UNet in the place of theirs, in an environment of its own."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from bench_tools.environment import ROOT
from bench_tools.peers.optimum import ENVIRONMENT

PYTHON = ENVIRONMENT.bin(ROOT / ".bench") / "python"
CLIENT = Path(__file__).with_name("optimum_client.py")

pytestmark = pytest.mark.skipif(
    not PYTHON.exists(),
    reason="no Optimum-ONNX; scripts/bench peers --subject tiny --only optimum makes it",
)


def _client(what, folder):
    done = subprocess.run(
        [str(PYTHON), str(CLIENT), what, str(folder)],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_ort_stable_diffusion_pipeline(tmp_path, workshop):
    """The file that Optimum wrote is removed and ours, exported and proven, lies there."""
    _client("make", tmp_path)
    shutil.copytree(tmp_path / "optimum", tmp_path / "ours")
    target = tmp_path / "ours" / "unet" / "model.onnx"
    target.unlink()
    workshop.export(target, tmp_path / "pipeline", weights="copy", check=True)
    found = json.loads(_client("run", tmp_path).splitlines()[-1])
    assert found["even"]["spread"] > 0.05
    assert max(found["even"]["ours"], found["odd"]["ours"]) < 1e-4
    assert found["even"]["optimum"] < 1e-4
    assert found["odd"]["optimum"] is None  # its skip connections do not meet at 9 x 11
