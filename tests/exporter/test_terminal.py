"""What the commands share: one line an error, signals at any time, exit codes."""

import os
import signal
import subprocess
import sys

import pytest

from exporter.errors import UsageError
from exporter.terminal import run

COMMANDS = ["exporter", "exporter.parity", "exporter.sample"]


def _command(name, *arguments, path=None):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [path or "", "."]))}
    return subprocess.run(
        [sys.executable, "-m", name, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        check=False,
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_a_long_error_is_one_line_in_a_log(name, tmp_path):
    far = tmp_path / ("x" * 30) / ("y" * 30) / "unet.onnx"
    result = _command(name, far)
    assert result.returncode == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert str(far.parent) in line


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("package", ["rich", "torch"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_imports(name, package, number, tmp_path):
    """A package that signals its own process stands for hands that are quick."""
    kill = f"import os\nos.kill(os.getpid(), {int(number)})\n"
    (tmp_path / f"{package}.py").write_text(kill)
    result = _command(name, tmp_path / "unet.onnx", path=tmp_path)
    assert result.returncode == 130
    assert result.stderr.startswith("interrupted")
    assert len(result.stderr.splitlines()) == 1


def test_line_breaks_within_an_error_do_not_break_its_line(capfd):
    def fail(_):
        raise UsageError("[red]first\nsecond" + " and on" * 30)

    assert run(fail) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("error: [red]first second and on")


def test_a_bug_keeps_its_traceback():
    def fail(_):
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        run(fail)
