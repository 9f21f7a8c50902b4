"""Every way in which a file comes into being: written whole, synced, then renamed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

from exporter.errors import TargetError
from exporter.leftovers import SUFFIX, claimed


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary sibling to write to, renamed to ``path`` when the body ends well.

    However the body ends, nothing but ``path`` stays.

    Raises:
        TargetError: For an OSError, the body's own too.
    """
    temporary = path.with_name(f".{path.name}-{os.getpid()}{SUFFIX}")
    try:
        with claimed(path, partial(_created, temporary)):
            yield temporary
            temporary.replace(path)
    except OSError as error:
        raise TargetError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _created(path: Path) -> Path:
    path.touch()
    return path


def write_text(path: Path, text: str) -> None:
    """Writes a whole UTF-8 file or none; see ``replacing``."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def synced(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, on disk when the body has ended.

    Raises:
        TargetError: For an OSError: the disk is full, the folder unwritable.
    """
    try:
        with path.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise TargetError(f"{path} cannot be written: {error.strerror}") from error
