"""From an annotated ONNX graph to something one can see.

>>> [block.path for block in viewer.load("unet.onnx").blocks]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from viewer.model.atlas import Atlas

__all__ = ["load"]


def load(file: str | Path) -> Atlas:
    """Reads an .onnx: its hierarchy, blocks, skips, injections, attentions, shapes and costs.

    Args:
        file: An .onnx, annotated by the exporter (docs/FORMAT.md) or not. No weight is read.

    Raises:
        viewer.errors.ModelError: It cannot be opened or is not an ONNX model.
    """
    from pathlib import Path

    from viewer.model.atlas import read

    return read(Path(file))
