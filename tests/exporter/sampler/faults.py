"""Wrong samplers: one thing changed in a file that is right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper


def _edit(path: Path, change: object) -> Path:
    model = onnx.load(path, load_external_data=False)
    body = next(a.g for a in _loop(model).attribute if a.name == "body")
    functions = {f.name: f for f in model.functions}
    change(model, body, functions)  # type: ignore[operator]
    target = path.with_name(f"wrong-{path.name}")
    onnx.save(model, target)
    return target


def _loop(model: onnx.ModelProto) -> onnx.NodeProto:
    """Of a sampler's file, or of the sampling stage in a picture's."""
    nodes = [*model.graph.node, *(node for f in model.functions for node in f.node)]
    return next(node for node in nodes if node.op_type == "Loop")


def shifted_timestep(path: Path) -> Path:
    """Every step's timestep is that of the step before."""

    def change(model: onnx.ModelProto, body: onnx.GraphProto, functions: dict) -> None:
        node = next(n for n in body.node if "timestep" in n.output)
        one = numpy_helper.from_array(np.array(1), "one")
        zero = numpy_helper.from_array(np.array(0), "zero")
        new = [
            onnx.helper.make_node("Constant", [], ["one"], value=one),
            onnx.helper.make_node("Constant", [], ["zero"], value=zero),
            onnx.helper.make_node("Sub", [node.input[1], "one"], ["earlier"], name="earlier"),
            onnx.helper.make_node("Max", ["earlier", "zero"], ["shifted"], name="shifted"),
        ]
        node.input[1] = "shifted"
        place = list(body.node).index(node)
        for offset, added in enumerate(new):
            body.node.insert(place + offset, added)

    return _edit(path, change)


def swapped_halves(path: Path) -> Path:
    """The prediction without text is taken for the one with text."""

    def change(model: onnx.ModelProto, body: onnx.GraphProto, functions: dict) -> None:
        branch = next(n for n in functions["Guidance"].node if n.op_type == "If")
        graphs = [a.g for a in branch.attribute]
        split = next(n for g in graphs for n in g.node if n.op_type == "Split")
        split.output[0], split.output[1] = split.output[1], split.output[0]

    return _edit(path, change)


def swapped_conditions(path: Path) -> Path:
    """The UNet is given the text in the half that should have none."""

    def change(model: onnx.ModelProto, body: onnx.GraphProto, functions: dict) -> None:
        name = "Halves_encoder_hidden_states"
        node = next(n for n in model.graph.node if n.op_type == name)
        node.input[1], node.input[2] = node.input[2], node.input[1]

    return _edit(path, change)


def stale_state(path: Path) -> Path:
    """The prediction before is never replaced."""

    def change(model: onnx.ModelProto, body: onnx.GraphProto, functions: dict) -> None:
        output = next(v for v in body.output if v.name.startswith("model_output_1"))
        body.value_info.add().CopyFrom(output)
        kept = onnx.helper.make_node("Identity", ["model_output_1"], ["stale"], name="stale")
        body.node.append(kept)
        output.name = "stale"

    return _edit(path, change)


def wrong_sigma(path: Path) -> Path:
    """The noise level that a step reads is 1 % too large."""

    def change(model: onnx.ModelProto, body: onnx.GraphProto, functions: dict) -> None:
        step = functions["EulerDiscrete"]
        factor = numpy_helper.from_array(np.array(1.01, np.float32), "factor")
        for node in step.node:
            node.input[:] = ["wrong" if n == "sigma" else n for n in node.input]
        step.node.insert(0, onnx.helper.make_node("Mul", ["sigma", "factor"], ["wrong"]))
        step.node.insert(0, onnx.helper.make_node("Constant", [], ["factor"], value=factor))

    return _edit(path, change)


def one_wrong_sigma(path: Path) -> Path:
    """The noise level of the third round is 1 % too large, and no other."""

    def change(model: onnx.ModelProto, body: onnx.GraphProto, functions: dict) -> None:
        node = next(n for n in body.node if "sigma" in n.output)
        step, place = node.input[1], list(body.node).index(node) + 1
        node.output[0] = "right"
        made = onnx.helper.make_node
        new = [
            made("Constant", [], ["third"], value=numpy_helper.from_array(np.array(2))),
            made("Constant", [], ["more"], value_float=1.01),
            made("Constant", [], ["same"], value_float=1.0),
            made("Equal", [step, "third"], ["is_third"]),
            made("Where", ["is_third", "more", "same"], ["factor"]),
            made("Mul", ["right", "factor"], ["sigma"]),
        ]
        for offset, added in enumerate(new):
            body.node.insert(place + offset, added)

    return _edit(path, change)


def wrong_unet(path: Path) -> Path:
    """The UNet's own last bias is moved by 1 %."""

    def change(model: onnx.ModelProto, body: onnx.GraphProto, functions: dict) -> None:
        unet = functions["UNet"]
        name, factor = unet.output[0], np.array(1.01, np.float32)
        last = next(n for n in unet.node if name in n.output)
        last.output[0] = "right"
        tensor = numpy_helper.from_array(factor, "factor")
        unet.node.append(onnx.helper.make_node("Constant", [], ["factor"], value=tensor))
        unet.node.append(onnx.helper.make_node("Mul", ["right", "factor"], [name]))

    return _edit(path, change)
