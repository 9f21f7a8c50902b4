"""Architectures once traced on this machine: weightless, annotated graphs as files.

An entry is named by a digest of all that a graph depends on, our own code and the versions of
the packages that make it included, so that it cannot be out of date. It begins with a digest
of its content, so that a damaged one is noticed and made again. Entries are renamed into
place: two processes may read and write the same ones.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from exporter.disk import replacing
from exporter.errors import TargetError
from exporter.leftovers import sweep

VARIABLE = "UNET_ATLAS_CACHE"
"""Environment variable: a folder for the entries; set and empty, nothing is kept."""

LIMIT = 1 << 28
"""Bytes that all entries together may take; the longest unused go first."""

PACKAGES = (
    "torch", "diffusers", "transformers", "onnx", "onnx-ir", "onnxscript", "onnxsim",
    "numpy", "sympy",
)  # fmt: skip

_SUFFIX = ".graph"
_DIGEST = hashlib.sha256().digest_size


def folder() -> Path | None:
    """Where entries lie; None where the environment asks for none."""
    chosen = os.environ.get(VARIABLE)
    if chosen is not None:
        return Path(chosen).expanduser().absolute() if chosen else None
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "unet-atlas"


def name_of(architecture: Iterable[str]) -> str:
    """The name of an architecture's entry.

    Args:
        architecture: What ``exporter.architecture.architecture`` returned.
    """
    facts = [*architecture, f"python {platform.python_version()}", *_versions(), code_digest()]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def load(name: str) -> bytes | None:
    """The content of an entry; None where there is none, or a damaged one, which goes."""
    place = folder()
    if place is None:
        return None
    path = place / f"{name}{_SUFFIX}"
    try:
        raw = path.read_bytes()
    except OSError:  # absent, or unreadable: as good as absent
        return None
    content = raw[_DIGEST:]
    if hashlib.sha256(content).digest() != raw[:_DIGEST]:
        path.unlink(missing_ok=True)
        return None
    try:
        os.utime(path)  # used just now
    except OSError:
        return content  # another process dropped it, or the folder is read-only: no harm
    return content


def save(name: str, content: bytes, limit: int = LIMIT) -> None:
    """Keeps an entry, and drops the longest unused ones beyond ``limit`` bytes in all.

    A folder that cannot be written keeps nothing, and that is no error: the export is whole.
    """
    place = folder()
    if place is None or len(content) + _DIGEST > limit:
        return
    try:
        place.mkdir(parents=True, exist_ok=True)
        sweep(place)
        with replacing(place / f"{name}{_SUFFIX}") as temporary:
            temporary.write_bytes(hashlib.sha256(content).digest() + content)
        _drop_beyond(place, limit)
    except (TargetError, OSError):
        return


def _drop_beyond(place: Path, limit: int) -> None:
    found = []
    for path in place.glob(f"*{_SUFFIX}"):
        try:
            status = path.stat()
        except FileNotFoundError:  # another process was faster
            continue
        found.append((status.st_mtime_ns, status.st_size, path))
    held = 0
    for _, size, path in sorted(found, reverse=True):
        held += size
        if held > limit:
            path.unlink(missing_ok=True)


@functools.cache
def code_digest(root: Path = Path(__file__).parent) -> str:
    """SHA-256 of a package's source files and their names, by default this one's."""
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root).as_posix()}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _versions() -> list[str]:
    def one(package: str) -> str:
        try:
            return f"{package} {version(package)}"
        except PackageNotFoundError:
            return f"{package} absent on {sys.platform}"

    return [one(package) for package in PACKAGES]
