"""Where in the installed diffusers a formula stands: ``diffusers/schedulers/....py:481``.

Files are read, not imported: the pipelines' modules take seconds to load.
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

PIPELINE = "pipelines/stable_diffusion/pipeline_stable_diffusion.py"
XL_PIPELINE = "pipelines/stable_diffusion_xl/pipeline_stable_diffusion_xl.py"


@functools.cache
def line(file: str, function: str, text: str = "") -> str:
    """File and line of the first line of a function that holds ``text``.

    Args:
        file: Path inside the package.
        function: Its name; the first of this name in the file.
        text: Part of the line; where this diffusers has no such line, the function's is told.
    """
    lines = _lines(file)
    start = next((i for i, words in enumerate(lines) if f"def {function}(" in words), 0)
    found = next((i for i, words in enumerate(lines) if i > start and text in words), start)
    return f"diffusers/{file}:{(found if text else start) + 1}"


@functools.cache
def _lines(file: str) -> tuple[str, ...]:
    spec = importlib.util.find_spec("diffusers")
    assert spec is not None
    assert spec.origin is not None
    return tuple((Path(spec.origin).parent / file).read_text().splitlines())
