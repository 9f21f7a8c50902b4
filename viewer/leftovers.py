"""What a killed command left behind: told from what is still being written, and removed.

A temporary file has a hidden name, by its target's and its writer's, and is locked as long as
that writer lives: the system lifts the lock of a process that was killed.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

SUFFIX = ".atlas.tmp"


@contextmanager
def sibling(target: Path) -> Iterator[Path]:
    """A temporary file beside ``target``, gone again however the body ends.

    Raises:
        OSError: It cannot be created.
    """
    stem = f".unet-atlas-{zlib.crc32(os.fsencode(target.name)):08x}-"  # of any name, and short
    place = target.with_name(f"{stem}{os.getpid()}{SUFFIX}")
    with ExitStack() as stack:
        with _lock(target.parent, wait=True):  # nobody takes it for stale before it is locked
            _remove_stale(target.parent, stem)
            place.touch()
            stack.enter_context(_lock(place))
            stack.callback(place.unlink, missing_ok=True)
        yield place


def _remove_stale(folder: Path, stem: str) -> None:
    ours = re.compile(rf"{re.escape(stem)}\d+{re.escape(SUFFIX)}")
    with suppress(OSError):  # told by whoever writes there
        for place in folder.iterdir():
            if ours.fullmatch(place.name) and place.is_file() and not place.is_symlink():
                with _lock(place) as stale:
                    if stale:
                        place.unlink()


@contextmanager
def _lock(place: Path, *, wait: bool = False) -> Iterator[bool]:
    """Whether the lock was to be had, for as long as the body runs.

    Never where the system knows none (Windows, some network folders).
    """
    try:
        import fcntl

        descriptor = os.open(place, os.O_RDONLY)
    except (ImportError, OSError):
        yield False
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)
