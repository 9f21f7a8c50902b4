"""What every command does at a terminal: progress, one-line errors, exit codes.

Imported before anything heavy, ``rich`` included, so that signals during imports end tidily.
"""

from __future__ import annotations

import argparse
import importlib
import math
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn

from exporter.errors import AtlasError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

    from exporter.types import Progress as Event

INTERRUPTED = 130


class Parser(argparse.ArgumentParser):
    """Says what is wrong with a command line in one line, not in the whole usage."""

    def error(self, message: str) -> NoReturn:
        """Ends the process with code 2."""
        self.exit(2, f"error: {one_line(message)}; see {self.prog} -h\n")


@dataclass(frozen=True)
class Number:
    """The ``type`` of an argument that is a number within bounds.

    Attributes:
        kind: ``int`` or ``float``; a float is finite.
        least: The smallest that is taken.
        most: The largest.
    """

    kind: type[int] | type[float]
    least: float
    most: float = sys.float_info.max

    def __call__(self, text: str) -> int | float:
        """The number.

        Raises:
            ArgumentTypeError: It is none, or out of bounds.
        """
        most = "" if self.most == sys.float_info.max else f" to {self.most:g}"
        try:
            value = self.kind(text)
        except (ValueError, OverflowError):
            value = math.nan
        if not self.least <= value <= self.most:
            whole = "a whole number" if self.kind is int else "a number"
            raise argparse.ArgumentTypeError(
                f"{text}; expected {whole} from {self.least:g}{most}"
            )
        return value


SEED = Number(int, 0, 2**63 - 1)
"""What torch and numpy both take."""


def one_line(text: str) -> str:
    """Text of unknown origin as one line that cannot steer a terminal."""
    return "".join(c if c.isprintable() else "\ufffd" for c in " ".join(text.split()))


def command(module: str) -> None:
    """Ends the process as ``module.main()`` says; what a ``__main__`` does.

    SIGTERM ends it as Ctrl-C does: tidily.

    Args:
        module: A command line's module, not imported yet.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = importlib.import_module(module).main()
    except KeyboardInterrupt:  # before or after ``run``
        print("interrupted", file=sys.stderr)  # noqa: T201
        code = INTERRUPTED
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # taking a whole graph apart takes Python two seconds, the system none


def run(
    work: Callable[[Console], int],
    *,
    debug: bool = False,
    left: str = "nothing half-written was left",
) -> int:
    """Runs a command's work and tells how it failed in one line, also in a log.

    Args:
        work: Given the console of stderr; returns the exit code.
        debug: Show the traceback of an error too.
        left: What is true of the disk after Ctrl-C.

    Returns:
        The exit code: that of ``work``, of its ``AtlasError``, or 130 when interrupted.
        Any other error is a bug and passes through.
    """
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True)
    try:
        return work(console)
    except (Exception, KeyboardInterrupt) as error:
        if _interrupted(error):
            console.print(Text(f"interrupted; {left}", style="yellow"), soft_wrap=True)
            return INTERRUPTED
        if isinstance(error, OSError):  # a path that the system refuses, wherever it was met
            error = AtlasError(f"{error.filename or 'the system'}: {error.strerror or error}")
        if not isinstance(error, AtlasError):
            raise
        if debug:
            traceback.print_exc()
        line = one_line(f"error: {error}")
        console.print(Text(line, style="red"), soft_wrap=True)
        return error.exit_code


def _interrupted(error: BaseException | None) -> bool:
    """Whether Ctrl-C lies beneath: torch answers it with errors of its own."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


class StageDisplay:
    """One line per stage with its time; silent when stderr is not a terminal."""

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

        self._bars = Progress(
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("{task.description:<10}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[note]}"),
            console=console,
            disable=quiet or not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._started: dict[str, float] = {}

    def __enter__(self) -> StageDisplay:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def start(self, stage: str) -> TaskID:
        """Shows a stage as running."""
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=None, note="")
            self._started[stage] = time.perf_counter()
        return self._tasks[stage]

    def finish(self, stage: str, seconds: float | None = None) -> None:
        """Shows a stage as done, with its time."""
        taken = time.perf_counter() - self._started[stage] if seconds is None else seconds
        task = self.start(stage)
        self._bars.update(task, total=1, completed=1, note=f"{taken:.1f} s")

    def progress(self, event: Event) -> None:
        """The ``OnProgress`` to hand to core code."""
        task = self.start(event.stage)
        if event.record is not None:
            self.finish(event.stage, event.record.seconds)
        elif event.total:
            note = _amount(event.done, event.total, event.unit)
            self._bars.update(task, total=event.total, completed=event.done, note=note)

    def clear(self) -> None:
        """Forgets all stages: the next export starts its own."""
        for task in self._tasks.values():
            self._bars.remove_task(task)
        self._tasks.clear()


def _amount(done: float, total: float, unit: str) -> str:
    if unit == "B":
        return f"{in_bytes(done)} of {in_bytes(total)}"
    return f"{done:.0f} of {total:.0f} {unit}"


def in_bytes(count: float) -> str:
    """For people, e.g. ``3.44 GB``."""
    for unit in ("B", "KB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.2f} GB"
