"""A recording read by another program while it grows: what that program is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

OnGrowth = Callable[[Path, int, int], None]
"""Called with the file, the evaluations that can be read from it, and their final number."""


def unfollowed(_: Path, __: int, ___: int) -> None:
    """Nobody reads along."""


def tell(write: Callable[[str], object]) -> OnGrowth:
    """An ``OnGrowth`` that writes a line of JSON: ``recording``, ``done`` and ``of``.

    Args:
        write: Given each line; one that fails because nobody listens any more ends the run.
    """

    def told(file: Path, done: int, of: int) -> None:
        write(json.dumps({"recording": str(file), "done": done, "of": of}))

    return told
