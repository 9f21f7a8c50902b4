"""Where a step's time goes: what exporter.profile --report writes (docs/PROFILE.md)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from viewer.errors import ReportError
from viewer.model import parity_report

_SHOWN = ("file", "sizes", "provider", "runs", "wall", "total", "attributed")


def read(path: Path) -> Mapping[str, Any]:
    """The part of a profile that the page shows.

    Returns:
        What was run, and ``inclusive``: module path to microseconds.

    Raises:
        ReportError: It is missing, not JSON or no profile.
    """
    report = parity_report.read(path)
    inclusive = report.get("inclusive")
    if not isinstance(inclusive, dict) or not all(map(_is_time, inclusive.values())):
        raise ReportError(f"{path} is no profile", "what exporter.profile --report writes")
    return {key: report[key] for key in _SHOWN if key in report} | {"inclusive": inclusive}


def _is_time(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0


def beside(model: Path) -> Path | None:
    """``unet.profile.json`` next to ``unet.onnx``, if it is there."""
    path = model.parent / f"{model.stem}.profile.json"
    return path if path.is_file() else None
