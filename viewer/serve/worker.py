"""The exporter's sampling command as a process: told what to do, listened to, ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

COMMAND = (sys.executable, "-m", "exporter.sample.standby")
"""What is run; docs/RECORDING.md says what it reads and writes."""

PATIENCE = 5.0
"""Seconds that a process has to tidy up before it is killed."""
_LONGEST_LINE = 1 << 16


class Worker:
    """One process that imports, waits for its arguments, and samples.

    Args:
        command: The process.
        log: File for what it says on stderr.
    """

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self._log = log
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                text=True,
                encoding="utf-8",
                errors="replace",
            )

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def tell(self, arguments: Sequence[str]) -> None:
        """Gives it its arguments, once."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it has ended: ``finish`` says how
            self._process.stdin.write(json.dumps(list(arguments)) + "\n")
            self._process.stdin.close()

    def lines(self) -> Iterator[Mapping[str, Any]]:
        """What it says on stdout, until it ends; what is no JSON object is passed over."""
        assert self._process.stdout is not None
        while line := self._process.stdout.readline(_LONGEST_LINE):
            with contextlib.suppress(ValueError):
                said = json.loads(line)
                if isinstance(said, dict):
                    yield said

    def finish(self) -> str:
        """Waits for its end, and leaves nothing of it open.

        Returns:
            The last line that it said on stderr if it failed; empty if it did well.
        """
        code = self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # what it never read
                    pipe.close()
        said = self._log.read_text("utf-8", "replace")[-4000:].strip().splitlines()
        self._log.unlink(missing_ok=True)
        if code == 0:
            return ""
        return said[-1] if said else f"sampling ended with code {code}"

    def stop(self) -> None:
        """Ends it tidily, and at once where it does not listen."""
        if self.alive():
            self._signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(PATIENCE)
        if self.alive():
            self._signal(getattr(signal, "SIGKILL", signal.SIGTERM))
        self._process.wait()

    def _signal(self, number: int) -> None:
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
        else:
            self._process.terminate()
