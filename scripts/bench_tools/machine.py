"""The machine that measured."""

from __future__ import annotations

import os
import platform
import re
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def describe() -> dict[str, str]:
    """Processor, cores, memory, system and ONNX Runtime, as recorded beside every result."""
    return {
        "processor": f"{_processor()}, {len(os.sched_getaffinity(0))} cores",
        "memory": f"{_memory() / 2**30:.0f} GiB",
        "system": _system(),
        "python": platform.python_version(),
        "ONNX Runtime": onnxruntime_version(),
    }


def onnxruntime_version() -> str:
    """Of the one that runs every graph; its package is named for what it can run on."""
    for name in ("onnxruntime-gpu", "onnxruntime"):
        with suppress(PackageNotFoundError):
            return version(name)
    return "none"


def load() -> float:
    """Processes that ran or waited in the last minute; above the cores, others interfered."""
    return os.getloadavg()[0]


def _processor() -> str:
    text = Path("/proc/cpuinfo").read_text()
    found = re.search(r"model name\s*: (.+)", text)
    return found[1].strip() if found else platform.machine()


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _system() -> str:
    release = platform.freedesktop_os_release()
    return f"{release.get('PRETTY_NAME', 'Linux')}, kernel {platform.release()}"
