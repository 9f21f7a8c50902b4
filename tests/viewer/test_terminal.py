"""Both commands at a terminal or in a log: one line an error, codes, Ctrl-C."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from viewer.errors import ModelError
from viewer.terminal import INTERRUPTED, one_line, run

COMMANDS = ("viewer", "viewer.replay")


def ran(command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", command, *arguments],
        capture_output=True, text=True, env={"COLUMNS": "30", "PATH": ""}, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_an_error_is_one_line_where_there_is_no_terminal(command, tmp_path):
    path = tmp_path / ("long name " * 12) / "a\nb\x1b[31m.onnx"
    done = ran(command, str(path))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_a_wrong_command_line_is_one_line(command):
    done = ran(command, "a", "--prot", "80")
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr
        == f"error: unrecognized arguments: --prot 80; see python -m {command} -h\n"
    )


def test_a_page_is_ended_by_ctrl_c(tiny):
    command = [sys.executable, "-m", "viewer", str(tiny), "--no-browser"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=20) == ("", "")
    assert process.returncode == 0


def test_work_that_is_interrupted_is_not_done(capsys):
    def work() -> None:
        raise KeyboardInterrupt

    assert run(work) == INTERRUPTED
    assert capsys.readouterr().err.count("\n") == 1


def test_a_bug_is_no_error_of_the_user():
    def work() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(work)


def test_errors_and_nothing(capsys):
    def work() -> None:
        raise ModelError("a\u2028b", "c")

    assert (run(work), run(lambda: None), run(lambda: 1)) == (2, 0, 1)
    assert capsys.readouterr().err == "error: a b; expected c\n"
    assert one_line("x\udc80\n y") == "x� y"
