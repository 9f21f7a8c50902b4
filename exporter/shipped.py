"""Pipelines that come with the package: small, trained, and read without a network."""

from __future__ import annotations

from pathlib import Path

_PRESETS = Path(__file__).with_name("presets")


def shipped() -> tuple[str, ...]:
    """Names of the pipelines in ``exporter/presets``."""
    return tuple(sorted(index.parent.name for index in _PRESETS.glob("*/model_index.json")))


def shipped_folder(name: str) -> Path | None:
    """The folder of a shipped pipeline; None where there is none of that name."""
    return _PRESETS / name if name in shipped() else None
