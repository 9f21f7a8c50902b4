"""Wrong text-to-image files: one thing changed in a file that is right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx


def _edit(path: Path, change: Callable[[onnx.ModelProto, dict[str, Any]], None]) -> Path:
    model = onnx.load(path, load_external_data=False)
    change(model, {f.name: f for f in model.functions})
    target = path.with_name(f"wrong-{path.name}")
    onnx.save(model, target)
    return target


def _pass_through(node: onnx.NodeProto) -> None:
    """The node gives out what it is given first."""
    node.op_type, node.domain = "Identity", ""
    del node.input[1:]
    del node.attribute[:]


def unscaled_latents(path: Path) -> Path:
    """The VAE's scaling factor is ignored."""

    def change(model: onnx.ModelProto, functions: dict[str, Any]) -> None:
        _pass_through(next(n for n in model.graph.node if "scaled_latents" in n.output))

    return _edit(path, change)


def wrong_layer(path: Path) -> Path:
    """SDXL's second encoder gives its last layer, not the one before."""

    def change(model: onnx.ModelProto, functions: dict[str, Any]) -> None:
        layers = "text_encoder_2.text_model.encoder"
        call = next(n for f in model.functions for n in f.node if n.domain == layers)
        assert len(call.output) == 2
        call.output[0], call.output[1] = call.output[1], call.output[0]

    return _edit(path, change)


def swapped_encoders(path: Path) -> Path:
    """SDXL's second encoder comes first."""

    def change(model: onnx.ModelProto, functions: dict[str, Any]) -> None:
        for node in model.graph.node:
            if node.op_type == "Concat" and node.attribute[0].i == 2:
                node.input[0], node.input[1] = node.input[1], node.input[0]

    return _edit(path, change)


def swapped_prompts(path: Path) -> Path:
    """What is not wanted is painted."""

    def change(model: onnx.ModelProto, functions: dict[str, Any]) -> None:
        node = next(n for n in model.graph.node if "both_input_ids" in n.output)
        node.input[0], node.input[1] = node.input[1], node.input[0]

    return _edit(path, change)


def swapped_halves(path: Path) -> Path:
    """The prediction without text is taken for the one with text."""

    def change(model: onnx.ModelProto, functions: dict[str, Any]) -> None:
        branch = next(n for n in functions["Guidance"].node if n.op_type == "If")
        graphs = [a.g for a in branch.attribute]
        split = next(n for g in graphs for n in g.node if n.op_type == "Split")
        split.output[0], split.output[1] = split.output[1], split.output[0]

    return _edit(path, change)
