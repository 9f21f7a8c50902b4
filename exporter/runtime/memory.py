"""What this process has taken of the machine's memory."""

from __future__ import annotations

import ctypes
import gc
import sys


def peak_memory() -> int:
    """Largest resident size of this process so far in bytes; 0 where the system cannot say."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def give_back() -> None:
    """Returns freed memory to the system, so that the next backend finds it."""
    gc.collect()
    if sys.platform.startswith("linux"):
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:  # glibc; musl has none
            trim(0)
