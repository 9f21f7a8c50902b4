"""A parity report beside the model, if there is one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from viewer.errors import ReportError
from viewer.numbers import plain_json

_LIMIT = 64 << 20


def read(path: Path) -> Mapping[str, Any]:
    """Reads a report.

    Raises:
        ReportError: It is missing or not a JSON object.
    """
    try:
        if path.stat().st_size > _LIMIT:
            raise ReportError(f"{path} is too large for a report")
        report = plain_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ReportError(f"{path} cannot be opened ({error.strerror})") from error
    except ValueError as error:
        raise ReportError(f"{path} is not JSON", "a report of the exporter") from error
    if not isinstance(report, dict):
        raise ReportError(f"{path} is not a report", "a JSON object")
    return report


def beside(model: Path) -> Path | None:
    """``unet.report.json`` next to ``unet.onnx``, if it is there."""
    path = model.parent / f"{model.stem}.report.json"
    return path if path.is_file() else None
