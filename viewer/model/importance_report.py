"""What each part is for: what exporter.sample --importance writes (docs/EXPERIMENTS.md)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from viewer.errors import ReportError
from viewer.model import parity_report


def read(path: Path, modules: Iterable[str]) -> Mapping[str, Any]:
    """The part of a table that the page shows.

    Args:
        path: The .json.
        modules: Module paths of the model that it is shown on.

    Returns:
        How many ``prompts`` and ``steps`` it is of; ``modules``, module path to the change of
        the image without it (rms over rms); ``skips``, the same by id.

    Raises:
        ReportError: It is missing, not JSON, no table, or one of another model.
    """
    table = parity_report.read(path)
    parts = table.get("parts")
    listed = isinstance(parts, list) and all(map(_is_part, parts))
    if table.get("kind") != "importance" or not parts or not listed:
        raise ReportError(
            f"{path} is no table of importance", "what exporter.sample --importance writes"
        )
    found: dict[str, dict[str, float]] = {"modules": {}, "skips": {}}
    for part in parts:
        kind = "skips" if part["kind"] == "skip" else "modules"
        found[kind][part["place"]] = float(part["image"])
    if missing := set(found["modules"]).difference(modules):
        told = f"{path} is of another model, which has {min(missing)}"
        raise ReportError(told, "a table of the file that is shown")
    prompts = table.get("prompts")
    count = len(prompts) if isinstance(prompts, list) else None
    return {"prompts": count, "steps": table.get("steps"), **found}


def _is_part(part: Any) -> bool:
    if not isinstance(part, dict):
        return False
    image = part.get("image")
    number = isinstance(image, (int, float)) and not isinstance(image, bool) and image >= 0
    return number and all(isinstance(part.get(name), str) for name in ("kind", "place"))
