"""Numbers and JSON in text of unknown origin."""

from __future__ import annotations

import json
from typing import Any

_DIGITS = 18
_DEEPEST = 64


def count(text: str) -> int | None:
    """A non-negative integer below 10^18 in plain digits; None for any other text."""
    known = text.isascii() and text.isdigit() and len(text) <= _DIGITS
    return int(text) if known else None


def plain_json(text: str) -> Any:
    """JSON as plain data that can be written again wherever it is put.

    Raises:
        ValueError: It is not JSON, or nested over 64 deep.
    """
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return value
    raise ValueError("nested too deep")
