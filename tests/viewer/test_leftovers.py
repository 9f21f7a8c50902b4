"""What a killed command of the viewer left is removed by the next that writes there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from viewer.disk import write_whole
from viewer.errors import TargetError
from viewer.leftovers import SUFFIX

WRITER = """
import sys, time, pathlib
from viewer.leftovers import sibling
with sibling(pathlib.Path(sys.argv[1])) as temporary:
    temporary.write_text("half"); print("here", flush=True); time.sleep(30)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_stale_goes_and_what_lives_stays(tmp_path):
    target, other = tmp_path / ("ß" * 120 + ".html"), tmp_path / "other.html"
    command = [sys.executable, "-c", WRITER, str(target)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"here\n"
        (left,) = names(tmp_path)
        assert left.endswith(SUFFIX)
        write_whole(target, b"whole")
        assert names(tmp_path) == [left, target.name]  # it lives, and keeps what it writes
        process.kill()
    (tmp_path / f"{left}.txt").touch()  # someone's own
    write_whole(other, b"whole")
    assert left in names(tmp_path)  # not of this file
    write_whole(target, b"again")
    assert names(tmp_path) == sorted([f"{left}.txt", "other.html", target.name])
    assert target.read_bytes() == b"again"


def test_nothing_stays_of_what_could_not_be_written(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(TargetError, match="Is a directory"):
        write_whole(tmp_path / "folder", b"whole")
    with pytest.raises(TargetError, match="No such file"):
        write_whole(tmp_path / "none" / "x", b"whole")
    assert names(tmp_path) == ["folder"]
