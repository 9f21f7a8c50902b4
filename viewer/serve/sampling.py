"""The files that are drawn, run by the exporter's command: one at a time, read as it grows."""

from __future__ import annotations

import contextlib
import secrets
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, Literal

from viewer.errors import SamplingBusyError, SamplingError
from viewer.serve.order import Order
from viewer.serve.worker import COMMAND, Worker

KEPT = 4
"""Recordings that stay readable; older ones are deleted when a new run starts."""

Status = Literal["starting", "running", "done", "failed", "cancelled"]


@dataclass(frozen=True)
class SampleRun:
    """One run of the command.

    Attributes:
        number: Counted from 1.
        order: What was asked.
        status: How far it is.
        file: The recording; while it runs, the one that grows.
        done: Evaluations that can be read from it.
        of: How many there will be; 0 until that is known.
        error: Why it failed, in one line.
        started: ``time.monotonic()`` of its start.
        seconds: From its start to its end, or to now.
    """

    number: int
    order: Order
    status: Status = "starting"
    file: Path | None = None
    done: int = 0
    of: int = 0
    error: str = ""
    started: float = 0.0
    seconds: float = 0.0

    @property
    def active(self) -> bool:
        """Whether its process still works."""
        return self.status in ("starting", "running")

    def to_json(self) -> dict[str, Any]:
        """For the page; no path of this machine."""
        return {
            "number": self.number,
            "order": self.order.to_json(),
            "status": self.status,
            "done": self.done,
            "of": self.of,
            "error": self.error,
            "seconds": round(self.seconds, 2),
        }


class Sampler:
    """Runs models one at a time, each in a process of its own.

    Args:
        models: Files that may be run.
        pipeline: A pipeline's folder or name for the command's ``--pipeline``; may be empty.
        command: The process; see ``Worker``.
    """

    def __init__(
        self, models: Sequence[Path], pipeline: str = "", command: Sequence[str] = COMMAND
    ) -> None:
        self.models, self.pipeline, self._command = tuple(models), pipeline, command
        self.token = secrets.token_urlsafe(24)
        self._changed = threading.Condition()
        self._version = 0
        self._runs: tuple[SampleRun, ...] = ()
        self._worker: Worker | None = None
        self._spare: Worker | None = None
        self._count = 0
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    @staticmethod
    def possible() -> bool:
        """Whether the exporter's command is installed."""
        return find_spec("exporter") is not None

    def about(self) -> dict[str, Any]:
        """What a page needs to order runs."""
        return {"token": self.token, "pipeline": bool(self.pipeline)}

    def state(self, seen: int = -1, patience: float = 0.0) -> dict[str, Any]:
        """Every run that is kept, oldest first.

        Args:
            seen: The version that the asker knows: another one is waited for.
            patience: How many seconds at most.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._version != seen, patience)
            runs = [run.to_json() for run in self._runs]
            return {"version": self._version, "runs": runs}

    def file(self, number: int) -> Path:
        """The recording of a run, as far as it has grown.

        Raises:
            SamplingError: No such run, or nothing recorded yet.
        """
        with self._changed:
            for run in self._runs:
                if run.number == number and run.file is not None:
                    return run.file
        raise SamplingError(f"there is no recording of run {number}")

    def open(self, number: int) -> BinaryIO:
        """The same, open; also in the moment in which it is renamed.

        Raises:
            SamplingError: As of ``file``.
        """
        for file in (self.file(number), self._target(number)):
            with contextlib.suppress(FileNotFoundError):
                return file.open("rb")
        raise SamplingError(f"the recording of run {number} is gone")

    def ready(self) -> None:
        """Starts a process that does its imports and waits, unless one works or waits."""
        with self._changed:
            waiting = self._spare is not None and self._spare.alive()
            if self._worker is None and not waiting:
                self._spare = self._start()

    def begin(self, order: Order) -> int:
        """Starts a run; returns its number.

        Raises:
            SamplingBusyError: One is running.
        """
        with self._changed:
            if self._worker is not None:
                raise SamplingBusyError(
                    "a run is going on", do="cancel it, or wait for its end"
                )
            self._forget()
            self._count += 1
            run = SampleRun(self._count, order, started=time.monotonic())
            spare, self._spare = self._spare, None
            worker = spare if spare is not None and spare.alive() else self._start()
            self._worker = worker
            self._runs = (*self._runs, run)
            self._bump()
        target = str(self._target(run.number))
        arguments = [str(self.models[order.model].absolute()), target, "--follow"]
        pipeline = [f"--pipeline={self.pipeline}"] if self.pipeline else []
        worker.tell([*arguments, *pipeline, "--quiet", *order.arguments()])
        watch = threading.Thread(target=self._watch, args=(worker, run.number), daemon=True)
        watch.start()
        return run.number

    def cancel(self) -> None:
        """Ends the run that goes on, and its process; none is left when this returns."""
        with self._changed:
            worker = self._worker
            active = [run for run in self._runs if run.active]
            if worker is None or not active:
                return
            self._change(active[-1].number, status="cancelled")
        worker.stop()
        with self._changed:
            self._changed.wait_for(lambda: self._worker is not worker, 5.0)

    def close(self) -> None:
        """Ends every process and deletes what was recorded."""
        self.cancel()
        with self._changed:
            spare, self._spare = self._spare, None
        if spare is not None:
            spare.stop()
            spare.finish()
        if self._folder is not None:
            self._folder.cleanup()

    def _watch(self, worker: Worker, number: int) -> None:
        for said in worker.lines():
            self._heard(number, said)
        error = worker.finish()
        with self._changed:
            run = next(run for run in self._runs if run.number == number)
            seconds = time.monotonic() - run.started
            if (error or not run.active) and run.file is not None:
                run.file.unlink(missing_ok=True)
            if run.status == "cancelled":
                self._change(number, file=None, seconds=seconds)
            elif error or run.file is None:
                reason = error.removeprefix("error: ") or "nothing was recorded"
                self._change(number, status="failed", error=reason, seconds=seconds, file=None)
            else:
                self._change(number, status="done", seconds=seconds)
            self._worker = None
            self._bump()

    def _heard(self, number: int, said: Mapping[str, Any]) -> None:
        file, done, of = said.get("recording"), said.get("done"), said.get("of")
        if not (isinstance(file, str) and isinstance(done, int) and isinstance(of, int)):
            return
        inside = Path(file)
        if inside.parent != self._place():
            return
        with self._changed:
            run = next(run for run in self._runs if run.number == number)
            if run.active:
                seconds = time.monotonic() - run.started
                self._change(
                    number, status="running", file=inside, done=done, of=of, seconds=seconds
                )

    def _change(self, number: int, **changes: Any) -> None:
        self._runs = tuple(
            replace(run, **changes) if run.number == number else run for run in self._runs
        )
        self._bump()

    def _bump(self) -> None:
        self._version += 1
        self._changed.notify_all()

    def _forget(self) -> None:
        """Deletes all but the newest recordings; a run that is forgotten is gone."""
        for run in self._runs[: max(0, len(self._runs) - KEPT + 1)]:
            if run.file is not None:
                run.file.unlink(missing_ok=True)
        self._runs = self._runs[-(KEPT - 1) :]

    def _target(self, number: int) -> Path:
        return self._place() / f"run-{number}.safetensors"

    def _start(self) -> Worker:
        return Worker(self._command, self._place() / f"log-{secrets.token_hex(4)}.txt")

    def _place(self) -> Path:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(
                prefix="atlas-", ignore_cleanup_errors=True
            )
        return Path(self._folder.name)
