"""What every benchmark prints and writes."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markdown import Markdown


def show(markdown: str) -> None:
    """Prints Markdown: drawn on a terminal, as it is into a file."""
    if sys.stdout.isatty():
        Console().print(Markdown(markdown))
    else:
        sys.stdout.write(markdown + "\n")


def write_text(path: Path, text: str) -> None:
    """Replaces a file at once: a reader never finds half of one. Makes its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text)
    temporary.replace(path)


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """The same with JSON."""
    write_text(path, json.dumps(values, indent=2) + "\n")
