"""Killed, out of room, or without a folder: nothing half-written, and the next run works."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from exporter import cache, disk
from exporter.disk import replacing, synced, write_text
from exporter.errors import TargetError
from exporter.leftovers import SUFFIX, remove_stale, scratch
from exporter.publish import drafted
from exporter.sample.recording import Recording

TENSORS = {"latents": (torch.float32, (2, 4))}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path):
    target = tmp_path / "x.json"
    code = (
        "import sys, time, pathlib; from exporter.disk import replacing\n"
        "with replacing(pathlib.Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half'); print('here', flush=True); time.sleep(30)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(target)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"here\n"
        (left,) = names(tmp_path)
        assert left.endswith(SUFFIX)
        write_text(target, "whole")
        assert names(tmp_path) == [left, "x.json"]  # it lives, and keeps what it writes
        process.send_signal(signal.SIGKILL)
    assert names(tmp_path) == [left, "x.json"]
    write_text(target, "again")
    assert names(tmp_path) == ["x.json"]


def test_a_killed_exports_folder_and_files_go_and_nothing_else(tmp_path):
    stale = tmp_path / f".unet-abc_1234{SUFFIX}"
    stale.mkdir()
    (stale / "unet.safetensors").write_bytes(bytes(100))
    for suffix in (".onnx", ".ort.onnx"):
        stale.with_name(stale.name + suffix).touch()
    strangers = [f".other-abc_1234{SUFFIX}", ".unet-abc_1234.tmp", ".unet-notes", "unet.onnx"]
    for name in strangers:
        (tmp_path / name).touch()
    (tmp_path / f".unet-link{SUFFIX}").symlink_to(tmp_path / "unet.onnx")
    with drafted(tmp_path / "unet.onnx", copy=True) as mine:
        assert not stale.exists()
        with drafted(tmp_path / "unet.onnx", copy=True) as other:  # two at once
            assert mine.old.is_dir()
            assert other.old.is_dir()
    assert names(tmp_path) == sorted([*strangers, f".unet-link{SUFFIX}"])


def test_a_killed_recording_goes_too(tmp_path):
    target = tmp_path / "run.safetensors"
    (tmp_path / f".run-123{SUFFIX}").touch()
    with Recording(target, TENSORS, {}) as growing:
        assert remove_stale(target) == []
        growing.put("latents", 0, [0.0] * 4)
    assert names(tmp_path) == ["run.safetensors"]


EXPORT = """
import os, pathlib, signal, sys
from exporter.publish import drafted
target, left, copy = pathlib.Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "copy"

def last(function):
    def call(*given, **how):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*given, **how)
    return call

with drafted(target, copy=copy, variant=True) as stage:
    stage.onnx.write_text("new")
    stage.variant.write_text("new")
    if copy:
        stage.weights.write_text("new")
    pathlib.Path.replace, os.link = last(pathlib.Path.replace), last(os.link)
    stage.publish()
"""


@pytest.mark.parametrize("copy", ["copy", "link"])
def test_killed_between_two_renames(copy, tmp_path):
    """Every file is whole at every moment, and the next export finds all old or all new."""
    target = tmp_path / "unet.onnx"
    files = ["unet.onnx", "unet.ort.onnx", *(["unet.safetensors"] if copy == "copy" else [])]
    for calls in range(9):
        for name in files:
            (tmp_path / name).write_text("old")
        command = [sys.executable, "-c", EXPORT, str(target), str(calls), copy]
        code = subprocess.run(command, check=False).returncode
        assert code in (0, -signal.SIGKILL)
        assert {(tmp_path / name).read_text() for name in files} <= {"old", "new"}
        remove_stale(target)
        assert names(tmp_path) == files
        (found,) = {(tmp_path / name).read_text() for name in files}
        assert found == ("new" if code == 0 else "old")
        if code == 0:
            break
    assert calls == 2 * len(files) - 1


def test_scratch_of_a_killed_command_is_removed_by_the_next(tmp_path):
    (stale := tmp_path / f".profile-abc_1234{SUFFIX}").mkdir()
    (stale / "optimised.data").write_bytes(bytes(100))
    with scratch(tmp_path / "profile") as place:
        assert names(tmp_path) == [place.name]
    assert names(tmp_path) == []


def test_a_killed_writers_cache_entry_goes_with_any_other(tmp_path, monkeypatch):
    monkeypatch.setenv("UNET_ATLAS_CACHE", str(tmp_path))
    (tmp_path / f".long-gone.graph-123{SUFFIX}").touch()
    with replacing(tmp_path / "growing") as growing:
        cache.save("entry", b"content")
        assert growing.exists()
    assert not [name for name in names(tmp_path) if name.endswith(SUFFIX)]
    assert cache.load("entry") == b"content"


@pytest.fixture
def full(monkeypatch):
    def no_room(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", no_room)


@pytest.mark.usefixtures("full")
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path):
    def record() -> None:
        with Recording(tmp_path / "run.safetensors", TENSORS, {}):
            pass

    def export() -> None:
        with drafted(tmp_path / "unet.onnx", copy=True) as draft, synced(draft.onnx) as file:
            file.write(b"half")

    for work in (record, export):
        with pytest.raises(TargetError, match="No space left on device"):
            work()
        assert names(tmp_path) == []


def test_a_full_disk_meets_a_report_too(tmp_path, monkeypatch):
    def no_room(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "x.json").write_text("old")
    monkeypatch.setattr(Path, "write_text", no_room)
    with pytest.raises(TargetError, match=r"x\.json cannot be written: No space left"):
        disk.write_text(tmp_path / "x.json", "new")
    assert names(tmp_path) == ["x.json"]
    assert (tmp_path / "x.json").read_text() == "old"


def test_the_folder_is_removed_meanwhile(tmp_path):
    folder = tmp_path / "out"

    def text() -> None:
        with replacing(folder / "x.json") as temporary:
            temporary.write_text("new")
            shutil.rmtree(folder)

    def record() -> None:
        with Recording(folder / "run.safetensors", TENSORS, {}):
            shutil.rmtree(folder)

    def export() -> None:
        with drafted(folder / "unet.onnx", copy=True) as draft:
            draft.onnx.write_bytes(b"whole")
            shutil.rmtree(folder)
            draft.publish()

    for work in (text, record, export):
        folder.mkdir()
        with pytest.raises(TargetError, match="No such file or directory"):
            work()
        assert names(tmp_path) == []
