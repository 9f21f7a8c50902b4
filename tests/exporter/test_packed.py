"""``--weights packed``: matrices stored the way ONNX Runtime multiplies them."""

from __future__ import annotations

from pathlib import Path

import onnx
from safetensors import safe_open


def test_packed_file_is_proven_and_has_no_weight_transposes(workshop, tmp_path: Path) -> None:
    target, wishes = tmp_path / "unet.onnx", {"weights": "packed", "flat": True}
    report = workshop.export(target, workshop.pipeline("micro"), check=True, **wishes)

    assert report.parity is not None
    assert report.parity.passed
    assert report.weights["mode"] == "packed"
    graph = onnx.load(target, load_external_data=False).graph
    assert report.weight_transposes > 0
    assert len(graph.node) == report.nodes_flat - report.weight_transposes
    name = next(i.name for i in graph.initializer if i.name.endswith("ff.net.2.weight"))
    shape = next(tuple(i.dims) for i in graph.initializer if i.name == name)
    with safe_open(tmp_path / "unet.safetensors", "pt") as file:
        assert tuple(file.get_slice(name).get_shape()) == shape
        assert shape[0] == 4 * shape[1]  # PyTorch keeps (out, in), this file (in, out)
