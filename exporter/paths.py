"""Dotted module paths, as ``named_modules()`` spells them; the root's own path is empty."""

from __future__ import annotations

from collections.abc import Iterator


def parent(path: str) -> str:
    """``mid_block.resnets`` of ``mid_block.resnets.0``; of a top-level module, the root."""
    return path.rpartition(".")[0]


def leaf(path: str) -> str:
    """``0`` of ``mid_block.resnets.0``."""
    return path.rpartition(".")[2]


def is_inside(path: str, outer: str) -> bool:
    """Whether ``path`` is ``outer`` or something below it; everything is inside the root."""
    return not outer or path == outer or path.startswith(f"{outer}.")


def upwards(path: str) -> Iterator[str]:
    """The path itself, then every module around it, the root left out."""
    while path:
        yield path
        path = parent(path)


def rebased(path: str, old: str, new: str) -> str:
    """``path`` with ``old`` at its start replaced by ``new``; as it is where not inside."""
    return new + path[len(old) :] if is_inside(path, old) else path
