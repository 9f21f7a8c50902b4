"""The one writer: a temporary sibling first, then a rename."""

from __future__ import annotations

from pathlib import Path

from viewer.errors import TargetError
from viewer.leftovers import sibling


def write_whole(target: Path, content: bytes) -> None:
    """Writes a file complete or not at all; nothing half-written is left behind.

    What a killed command left that was writing the same file is removed.

    Raises:
        TargetError: It cannot be written there.
    """
    try:
        with sibling(target) as temporary:
            temporary.write_bytes(content)
            temporary.replace(target)
    except OSError as error:
        raise TargetError(
            f"{target} cannot be written ({error.strerror})", do="choose another place"
        ) from error


def make_folder(folder: Path) -> None:
    """Makes a folder to write to, and those around it, where they are missing.

    Raises:
        TargetError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TargetError(
            f"{folder} cannot be made ({error.strerror})", do="choose another place"
        ) from error
