"""Whether two files hold one graph."""

from __future__ import annotations

import hashlib
from pathlib import Path

import onnx


def graph_digest(path: Path) -> str:
    """SHA-256 of an ``.onnx`` file without the model's own metadata.

    Files that agree here give ONNX Runtime and a viewer the same bytes: the same nodes, names
    and shapes, with weights at the same places of files of the same name.
    """
    model = onnx.load(str(path), load_external_data=False)
    del model.metadata_props[:]
    return hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
