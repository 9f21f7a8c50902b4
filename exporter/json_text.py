"""JSON from files that may be anything."""

from __future__ import annotations

import json
from typing import Any

from exporter.errors import UsageError


def parse_json(text: str | bytes) -> Any:
    """What ``json.loads`` gives.

    Raises:
        ValueError: It is not JSON, not UTF-8, or nested more deeply than Python can follow.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def json_object(text: str | bytes, what: str) -> dict[str, Any]:
    """A JSON object.

    Args:
        text: JSON.
        what: Where it was found, for the error.

    Raises:
        UsageError: It is something else.
    """
    try:
        found = parse_json(text)
    except ValueError as error:
        raise UsageError(f"{what} is not JSON ({error})") from error
    if not isinstance(found, dict):
        raise UsageError(f"{what} holds a {type(found).__name__}", "a JSON object")
    return found
