"""Runs a command in this process and holds it to what every command promises.

Exit 0, 1, 2 or 130; at most one line of error; no traceback and no warning; no file changed
but the targets; bounded time and memory.
"""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CODES = (0, 1, 2, 130)
SECONDS = 20
MEMORY = 1 << 30
"""Bytes by which one command may make the process's peak grow."""

COUNTS: Counter[str] = Counter()
"""Examples by command and exit code."""

_SILENT = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)

Main = Callable[[Sequence[str]], int | None]


class FindingError(AssertionError):
    """A promise that was broken."""


def hold(
    main: Main, arguments: Sequence[str | Path], folder: Path, targets: Sequence[Path] = ()
) -> tuple[int, str]:
    """Runs ``main(arguments)`` with ``folder`` as the working directory.

    Args:
        main: A command line; may end with ``SystemExit``.
        arguments: What follows the command's name.
        folder: All that it may see. Left as it is, ``targets`` aside, unless the code is 0.
        targets: Files or folders that it may write when it succeeds.

    Returns:
        Exit code and what was written to stderr.
    """
    words = [str(argument) for argument in arguments]
    before, peak, start = _listing(folder), _peak(), time.process_time()
    with _watched(folder) as (said, warned), _alarm():
        try:
            code = main(words) or 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        except Exception as error:
            raise FindingError(f"{words}: {type(error).__name__}: {error}") from error
        text = said()
    COUNTS[f"{main.__module__} {code}"] += 1
    after = _listing(folder)
    changed = {name for name in {**before, **after} if before.get(name) != after.get(name)}
    allowed = {str(target.relative_to(folder)) for target in targets} if code == 0 else set()
    strange = [name for name in changed if not any(_under(name, one) for one in allowed)]
    told = f"{words} -> {code}\n{text[-2000:]}"
    _require(code in CODES, f"exit code: {told}")
    _require("Traceback" not in text, f"traceback: {told}")
    _require(len(text.splitlines()) <= 1, f"more than one line: {told}")
    reason = bool(text) or code in (0, 1) or "--all" in words  # which tells it on stdout
    _require(reason, f"no reason given: {told}")
    _require(not warned, f"warning {[str(one.message) for one in warned]}: {told}")
    _require(not strange, f"changed {strange}: {told}")
    _require(_peak() - peak < MEMORY, f"{(_peak() - peak) / 1e9:.1f} GB more: {told}")
    _require(time.process_time() - start < SECONDS, f"over {SECONDS} s: {told}")
    return code, text


def _require(true: bool, what: str) -> None:
    if not true:
        raise FindingError(what)


def _under(name: str, target: str) -> bool:
    return name == target or name.startswith(f"{target}/")


def _listing(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file()
        else ""
        for path in folder.rglob("*")
    }


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@contextmanager
def _watched(
    folder: Path,
) -> Iterator[tuple[Callable[[], str], list[Any]]]:
    """stderr, of libraries too, and warnings as a user would see them."""
    place, streams, ours = Path.cwd(), (sys.stdout, sys.stderr), os.dup(2)
    with tempfile.TemporaryFile("w+") as file, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("default")
        for kind in _SILENT:
            warnings.simplefilter("ignore", kind)
        os.dup2(file.fileno(), 2)
        sys.stderr = os.fdopen(os.dup(2), "w", buffering=1, errors="backslashreplace")
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115
        os.chdir(folder)

        def said() -> str:
            sys.stderr.flush()
            file.seek(0)
            return file.read()

        try:
            yield said, warned
        finally:
            os.chdir(place)
            sys.stderr.close()
            sys.stdout.close()
            sys.stdout, sys.stderr = streams
            os.dup2(ours, 2)
            os.close(ours)


@contextmanager
def _alarm() -> Iterator[None]:
    """Ends what hangs; in CPU seconds, which a busy machine does not stretch."""

    def ring(*_: object) -> None:
        raise FindingError(f"not done after {SECONDS} s")

    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
