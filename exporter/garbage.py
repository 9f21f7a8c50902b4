"""Python's garbage collector, out of the way of what makes objects and drops none."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused() -> Iterator[None]:
    """Runs the body without collections, also usable as a decorator.

    Imports and graphs are objects by the hundred thousand that all stay; looking for garbage
    among them again and again takes a sixth of an export and finds none.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
