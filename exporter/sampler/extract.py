"""Out of a sampler's file: the UNet in it, and a copy that gives out what the UNet tells."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from exporter.errors import UsageError
from exporter.sampler.embed import DOMAIN, NAME
from exporter.sampler.guidance import ROWS

OUT = "out_sample"


def unet_of(model: ir.Model, path: Path) -> ir.Model:
    """The UNet as a model of its own: the function ``UNet`` and the functions it calls.

    Args:
        model: A sampler's, loaded. Shares its graph with the result: outputs that one gains
            the other has.
        path: Its file, for the error.

    Raises:
        UsageError: There is no such function.
    """
    _, _, call = _loop(model, path)
    function = model.functions[DOMAIN, NAME, ""]
    own = [f for f in model.functions.values() if f.domain.startswith(f"{DOMAIN}.")]
    unet = ir.Model(function.graph, ir_version=model.ir_version, functions=own)
    unet.metadata_props.update(model.metadata_props)
    for formal, actual in (
        *zip(unet.graph.inputs, call.inputs, strict=True),
        *zip(unet.graph.outputs, call.outputs, strict=False),
    ):
        if actual is not None:  # a function's own inputs say nothing of their shapes
            formal.type = formal.type or actual.type
            formal.shape = formal.shape or _in_rows(actual.shape)
    return unet


def _in_rows(shape: ir.Shape | None) -> ir.Shape | None:
    """The loop's rows (both halves) are the UNet's batch."""
    if shape is None:
        return None
    return ir.Shape(["B" if str(dim) == ROWS else dim for dim in shape])


def _loop(model: ir.Model, path: Path) -> tuple[ir.Node, ir.Graph, ir.Node]:
    """The loop, its body, and the call of the UNet in it."""
    loop = next((node for node in model.graph if node.op_type == "Loop"), None)
    body = None if loop is None else loop.attributes["body"].as_graph()
    call = next((n for n in body or () if (n.domain, n.op_type) == (DOMAIN, NAME)), None)
    known = (DOMAIN, NAME, "") in model.functions
    if loop is None or body is None or call is None or not known:
        raise UsageError(f"{path.name} has no UNet in a loop", "a file of --sampler")
    return loop, body, call


def give_out(model: ir.Model, unet: ir.Model, path: Path) -> None:
    """Makes the sampler give out, stacked over the rounds, what its UNet gives.

    Args:
        model: The sampler's; modified in place. Its outputs are then ``out_latents``,
            ``timesteps``, ``step_latents``, and every output of ``unet`` under its own name.
        unet: Of ``unet_of``, which has gained outputs since.
        path: The file, for the error.

    Raises:
        UsageError: The loop is not where ``--sampler`` puts it.
    """
    loop, body, call = _loop(model, path)
    told = [OUT, *(value.name or "" for value in unet.graph.outputs[1:])]
    call.resize_outputs(len(told))
    for name, value, inner in zip(told, call.outputs, unet.graph.outputs, strict=True):
        if name != OUT:
            value.name, value.type = f"round/{name}", inner.type
    pairs = zip(unet.graph.inputs, call.inputs, strict=True)
    time = next(actual for formal, actual in pairs if formal.name == "timestep")
    given: dict[str, tuple[ir.Value | None, ir.TypeProtocol | None]] = {
        "timesteps": (time, ir.TensorType(ir.DataType.FLOAT)),
        "step_latents": (body.outputs[1], body.outputs[1].type),
        **{n: (v, v.type) for n, v in zip(told, call.outputs, strict=True)},
    }
    own = [output.name for output in model.graph.outputs]
    for name, (told_value, kind) in given.items():
        if name in own:
            continue
        node = ir.node("Identity", [told_value], name=f"given/{name}")
        node.outputs[0].name, node.outputs[0].type = f"given/{name}", kind
        body.append(node)
        body.outputs.append(node.outputs[0])
        loop.resize_outputs(len(loop.outputs) + 1)
        loop.outputs[-1].name, loop.outputs[-1].type = name, kind
        model.graph.outputs.append(loop.outputs[-1])
