"""A command under GNU time: what it took of the clock, the processors and the memory."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench_tools.environment import ROOT

GNU_TIME = "/usr/bin/time"

_CLOCK = re.compile(r"Elapsed \(wall clock\) time .*: (?:(\d+):)?(\d+):([\d.]+)")
_USER = re.compile(r"User time \(seconds\): ([\d.]+)")
_SYSTEM = re.compile(r"System time \(seconds\): ([\d.]+)")
_MEMORY = re.compile(r"Maximum resident set size \(kbytes\): (\d+)")
_ERROR = re.compile(r"^[\w.]*(Error|Exception|Exit|Interrupt)\b.*|^error: .*")


class RunError(Exception):
    """A command that failed; its message is the line of its output that says why."""


@dataclass(frozen=True)
class Timed:
    """What one command took.

    Attributes:
        wall: Seconds from start to end, imports included.
        cpu: Seconds of user and system time, of children too.
        memory: Peak resident bytes of its largest process; mapped files count.
        output: What it wrote to stdout.
    """

    wall: float
    cpu: float
    memory: int
    output: str


def timed(command: Sequence[str], folder: Path, limit: float) -> Timed:
    """Runs a command under GNU time.

    Args:
        command: Program and arguments.
        folder: Where it runs.
        limit: Seconds after which it and its children are killed.

    Raises:
        RunError: It failed, ran past the limit, or GNU time is not installed.
    """
    if not Path(GNU_TIME).is_file():
        raise RunError(f"{GNU_TIME} is missing; install GNU time")
    with tempfile.TemporaryDirectory() as scratch:
        record = Path(scratch) / "time"
        output = run([GNU_TIME, "-v", "-o", str(record), *command], folder, limit)
        return _parse(record.read_text(), output)


def run(command: Sequence[str], folder: Path, limit: float, *, gpu: bool = False) -> str:
    """Runs a command in a process group of its own and returns its stdout.

    Args:
        command: Program and arguments.
        folder: Where it runs.
        limit: Seconds after which it and its children are killed.
        gpu: Whether it may see one.

    Raises:
        RunError: It failed or ran past the limit.
    """
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment(gpu=gpu),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired as error:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise RunError(f"not done after {limit:.0f} s") from error
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    if process.returncode:
        raise RunError(_reason(errors or output, process.returncode))
    return output


def run_worker(
    module: str, python: Path, limit: float, *arguments: str | Path, gpu: bool = False
) -> Any:
    """Runs one of ``bench_tools.workers`` and returns the JSON it prints last.

    Raises:
        RunError: It failed or ran past the limit.
    """
    command = [str(python), "-m", f"bench_tools.workers.{module}", *map(str, arguments)]
    return json.loads(run(command, ROOT, limit, gpu=gpu).strip().splitlines()[-1])


def environment(*, gpu: bool = False) -> Mapping[str, str]:
    """The environment of every process: our tools importable, the network left alone."""
    hidden = {} if gpu else {"CUDA_VISIBLE_DEVICES": ""}
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT / "scripts"),
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        **hidden,
    }


def _parse(text: str, output: str) -> Timed:
    clock, user, system, memory = (
        found.search(text) for found in (_CLOCK, _USER, _SYSTEM, _MEMORY)
    )
    if not (clock and user and system and memory):
        raise RunError(f"{GNU_TIME} is not GNU time")
    hours, minutes, seconds = clock.groups(default="0")
    return Timed(
        wall=int(hours) * 3600 + int(minutes) * 60 + float(seconds),
        cpu=float(user[1]) + float(system[1]),
        memory=int(memory[1]) * 1024,
        output=output,
    )


def _reason(text: str, status: int) -> str:
    """The line that names the error, else the last one."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    named = [line for line in lines if _ERROR.match(line)]
    line = (named or lines or [f"exit status {status}"])[-1]
    return line if status > 0 else f"killed by signal {-status}: {line}"
