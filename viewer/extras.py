"""Packages that only one kind of output needs, imported when it is asked for."""

from __future__ import annotations

import sys
from typing import Any

from viewer.errors import TargetError


def need(module: str, install: str) -> Any:
    """Imports a module.

    Args:
        module: Its whole name.
        install: The command that installs it.

    Raises:
        TargetError: It, or something it needs, is not installed.
    """
    try:
        __import__(module)
    except ImportError as error:
        name, missing = module.partition(".")[0], error.name or module
        raise TargetError(
            f"{name} cannot be used ({missing} is missing)", "", install
        ) from error
    return sys.modules[module]
