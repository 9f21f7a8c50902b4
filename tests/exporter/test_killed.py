"""The whole command, ended at random moments: nothing half-written is left, and a rerun works.

``UNET_ATLAS_KILLS=50`` tries fifty moments, ``UNET_ATLAS_SEED=1`` others.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

from safetensors.numpy import load_file, save_file

import viewer
from exporter.leftovers import SUFFIX

MOMENTS = int(os.environ.get("UNET_ATLAS_KILLS", "3"))
SEED = int(os.environ.get("UNET_ATLAS_SEED", "0"))
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
FILES = ["report.json", "unet.onnx", "unet.safetensors"]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def started(target: Path, model: Path) -> subprocess.Popen[str]:
    report = target.with_name("report.json")
    options = ["--model", model, "--weights", "copy", "--report", report, "--quiet"]
    return subprocess.Popen(
        [sys.executable, "-m", "exporter", *map(str, [target, *options])],
        env={**os.environ, "UNET_ATLAS_CACHE": str(target.parents[1] / "cache")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Python leaves a signal ignored that its parent ignores, as shells do in background.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def completed(target: Path, model: Path) -> None:
    process = started(target, model)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    holds(target)


def holds(target: Path) -> None:
    """Model, weights and report are whole; model and weights are of one export."""
    shown = viewer.load(target)
    assert shown.standing.text == "proven"
    content = target.with_suffix(".safetensors").read_bytes()
    (said,) = shown.weights["files"].values()
    assert said == f"sha256:{hashlib.sha256(content).hexdigest()}"
    report = json.loads(target.with_name("report.json").read_text())
    assert report["parity"]["verdict"] == "passed"


def another(model: Path, place: Path) -> Path:
    """The same architecture with other weights."""
    shutil.copytree(model, place)
    (file,) = place.rglob("*.safetensors")
    save_file({name: value * 2 for name, value in load_file(file).items()}, file)
    return place


def test_ended_at_random_moments(workshop: Any, tmp_path: Path) -> None:
    first = workshop.pipeline("micro") / "unet"
    models = (first, another(first, tmp_path / "other"))
    target, random = tmp_path / "out" / "unet.onnx", Random(SEED)
    target.parent.mkdir()
    start = time.monotonic()
    completed(target, models[0])
    whole, ended = (time.monotonic() - start) / 2, 0  # the next ones need no trace
    for moment in range(MOMENTS):
        number, before = SIGNALS[moment % len(SIGNALS)], names(target.parent)
        process = started(target, models[moment % 2])
        try:
            process.wait(random.uniform(0.1, 1.1) * whole)
        except subprocess.TimeoutExpired:
            process.send_signal(number)
            ended += 1
        _, err = process.communicate(timeout=120)
        assert process.returncode in (0, 130, -number), err
        assert err in ("", "interrupted\n", "interrupted; nothing half-written was left\n")
        holds(target)
        if number != signal.SIGKILL:
            assert set(names(target.parent)) <= set(before)
    assert ended
    completed(target, models[1])
    assert names(target.parent) == FILES  # what was stale is gone
    assert not [name for name in names(tmp_path / "cache") if name.endswith(SUFFIX)]
