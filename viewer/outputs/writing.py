"""Files that appear whole or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from viewer.errors import TargetError


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A path beside ``target`` to write to; it becomes ``target`` when the block succeeds.

    Yields:
        A path of the same suffix in a temporary folder next to ``target``.

    Raises:
        TargetError: The folder cannot be made or written to, or ``target`` is a folder.
    """
    if target.is_dir():
        raise TargetError(f"{target} is a folder", "a file to write")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".atlas-", dir=target.parent) as folder:
            sibling = Path(folder) / target.name
            yield sibling
            sibling.replace(target)
    except OSError as error:
        reason = error.strerror or str(error)
        raise TargetError(
            f"{target} cannot be written ({reason})", "", "choose another place"
        ) from error
