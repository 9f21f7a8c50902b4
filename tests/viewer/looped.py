"""The hand-written UNet in a ``Loop``, with a text encoder and a decoder at both ends."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.viewer.tiny import MAIN, TEXT, build

FORMULA = "x' = x − ε"
CONFIG = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "timestep_spacing": "leading",
    "steps_offset": 1,
}
IMAGE = ["B", 4, "H", "W"]


def build_looped(path: Path) -> Path:
    """Writes a text-to-image file as docs/FORMAT.md says, in small."""
    model = onnx.load(build(path), load_external_data=False)
    graph, known = model.graph, {entry.domain for entry in model.opset_import}
    functions = {
        "unet.UNet": _function("unet", "UNet", graph),
        "sampler.DDIM": _step(),
        "text_encoder.TextEncoder": _plain("text_encoder", "TextEncoder", "Cast", to=1),
        "vae.ImageDecoder": _plain("vae", "ImageDecoder", "Identity"),
    }
    model.functions.extend(functions.values())
    model.opset_import.extend(
        helper.make_opsetid(name.partition(".")[0], 1)
        for name in functions
        if name.partition(".")[0] not in known
    )
    names = [value.name for value in graph.input]
    assert names == ["sample", "timestep", "encoder_hidden_states"]
    out = graph.output[0].name
    body = helper.make_graph(
        [
            _node("Gather", ["table", "step"], ["time"], "loop_state"),
            _node("Unsqueeze", ["time", "zero"], ["timestep"], "loop_state"),
            _node("UNet", ["latents_in", "timestep", "prompt"], [out], "sampler", "unet"),
            _node("DDIM", [out, "latents_in"], ["after"], "scheduler_step", "sampler"),
            _node("Identity", ["go_on"], ["again"], "sampler"),
        ],
        "round",
        [
            helper.make_tensor_value_info("step", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("latents_in", TensorProto.FLOAT, IMAGE),
        ],
        [
            helper.make_tensor_value_info("again", TensorProto.BOOL, []),
            helper.make_tensor_value_info("after", TensorProto.FLOAT, IMAGE),
        ],
    )
    loop = _node("Loop", ["num_inference_steps", "", "latents"], ["last"], "sampler")
    loop.attribute.append(helper.make_attribute("body", body))
    table = numpy_helper.from_array(np.linspace(999, 0, 10, dtype=np.float32), "table")
    zero = numpy_helper.from_array(np.array([0]), "zero")
    wide = _node("Cast", ["num_inference_steps"], ["wide"], "loop_state")
    wide.attribute.append(helper.make_attribute("to", TensorProto.FLOAT))
    del graph.node[:], graph.input[:], graph.output[:], graph.value_info[:]
    graph.node.extend(
        [
            helper.make_node("Constant", [], ["numbers"], value=table),
            wide,
            _node("Mul", ["numbers", "wide"], ["table"], "loop_state"),
            helper.make_node("Constant", [], ["zero"], value=zero),
            _node("TextEncoder", ["input_ids"], ["prompt"], "text_encoder", "text_encoder"),
            loop,
            _node("ImageDecoder", ["last"], ["image"], "image_decoder", "vae"),
        ]
    )
    graph.input.extend(
        [
            helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["B", "S", TEXT]),
            helper.make_tensor_value_info("latents", TensorProto.FLOAT, IMAGE),
            helper.make_tensor_value_info("num_inference_steps", TensorProto.INT64, []),
        ]
    )
    graph.output.append(helper.make_tensor_value_info("image", TensorProto.FLOAT, IMAGE))
    said = {"scheduler": "DDIMScheduler", "config": CONFIG}
    model.metadata_props.add(key="atlas.sampler", value=json.dumps(said))
    onnx.save(model, path)
    return path


def _node(
    op: str, inputs: list[str], outputs: list[str], role: str, domain: str = ""
) -> onnx.NodeProto:
    node = helper.make_node(op, inputs, outputs, name=f"{op}_{outputs[0]}", domain=domain)
    helper.set_metadata_props(node, {"atlas.role": role})
    return node


def _function(domain: str, name: str, graph: onnx.GraphProto) -> onnx.FunctionProto:
    domains = {node.domain for node in graph.node if node.domain}
    return helper.make_function(
        domain,
        name,
        [value.name for value in graph.input],
        [value.name for value in graph.output],
        list(graph.node),
        [MAIN, *(helper.make_opsetid(one, 1) for one in sorted(domains))],
        value_info=[*graph.value_info, *graph.input, *graph.output],
    )


def _step() -> onnx.FunctionProto:
    node = _node("Sub", ["sample", "model_output"], ["prev_sample"], "scheduler_step")
    return helper.make_function(
        "sampler",
        "DDIM",
        ["model_output", "sample"],
        ["prev_sample"],
        [node],
        [MAIN],
        doc_string=f"`DDIMScheduler.step`.\n\n{FORMULA}",
    )


def _plain(domain: str, name: str, op: str, **attributes: int) -> onnx.FunctionProto:
    node = helper.make_node(op, ["given"], ["made"], name=name, **attributes)
    return helper.make_function(domain, name, ["given"], ["made"], [node], [MAIN])
