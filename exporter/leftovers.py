"""What a killed command left behind: told from what is still being written, and removed.

Whatever is written beside a target has a hidden name that ends in ``.atlas.tmp`` and is locked
as long as its writer lives: the system lifts the lock of a process that was killed.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SUFFIX = ".atlas.tmp"
BEFORE = ".before"
"""Ends the name of what an export puts aside in its folder until all is in place."""


@contextmanager
def claimed(target: Path, make: Callable[[], Path]) -> Iterator[Path]:
    """A temporary file or folder, locked while the body runs; stale ones are removed first.

    Args:
        target: What is being written.
        make: Creates the temporary and returns it.

    Raises:
        OSError: It cannot be created.
    """
    with locked(target.parent):  # nobody takes it for stale before it is locked
        remove_stale(target)
        place = make()
        descriptor = os.open(place, os.O_RDONLY)
        lock(descriptor)
    try:
        yield place
    finally:
        os.close(descriptor)


@contextmanager
def scratch(target: Path) -> Iterator[Path]:
    """A hidden folder beside ``target``, gone again however the body ends.

    Raises:
        OSError: It cannot be created.
    """

    def make() -> Path:
        prefix = f".{target.stem}-"
        return Path(tempfile.mkdtemp(prefix=prefix, suffix=SUFFIX, dir=target.parent))

    with claimed(target, make) as place:
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The body alone works on a folder, as far as the system knows locks.

    Raises:
        OSError: There is no such folder.
    """
    try:
        import fcntl
    except ImportError:  # Windows: renames alone have to do
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a network folder without locks, likewise
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def remove_stale(target: Path) -> list[Path]:
    """Removes what killed commands left that were writing this very target.

    Args:
        target: Its temporaries are ``.NAME-*.atlas.tmp`` in the same folder, NAME being its
            name with or without the last suffix; what begins with such a folder's name too.

    Returns:
        What was removed.
    """
    names = "|".join(re.escape(name) for name in {target.name, target.stem})
    return _removed(target.parent, names)


def sweep(folder: Path) -> list[Path]:
    """Removes what killed commands left in a folder where only ours write.

    Returns:
        What was removed.

    Raises:
        OSError: There is no such folder.
    """
    with locked(folder):
        return _removed(folder, ".+")


def _removed(folder: Path, names: str) -> list[Path]:
    ours = re.compile(rf"\.({names})-\w+{re.escape(SUFFIX)}")
    removed: list[Path] = []
    with suppress(OSError):  # no folder: told by whoever writes there
        for place in sorted(folder.iterdir()):
            if ours.fullmatch(place.name) and not place.is_symlink() and _is_stale(place):
                removed += [place, *place.parent.glob(f"{_literal(place.name)}.*")]
    for place in removed:
        if place.is_dir():
            _give_back(place)
            shutil.rmtree(place, ignore_errors=True)
        else:
            place.unlink(missing_ok=True)
    return removed


def _give_back(folder: Path) -> None:
    """Killed between two renames: what the export had replaced by then comes back."""
    linked = folder.with_name(f"{folder.name}.onnx")
    if linked.exists() or any(folder.glob("*.onnx")):  # the last rename never was
        for before in folder.glob(f"*{BEFORE}"):
            before.replace(folder.parent / before.name.removesuffix(BEFORE))


def _is_stale(place: Path) -> bool:
    try:
        descriptor = os.open(place, os.O_RDONLY)
    except OSError:
        return False
    try:
        return lock(descriptor)
    finally:
        os.close(descriptor)


def lock(descriptor: int) -> bool:
    """Whether the lock was to be had; never where the system knows none."""
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return False
    return True


def _literal(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)
