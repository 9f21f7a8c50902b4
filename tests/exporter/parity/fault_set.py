"""Seventy ways in which a file can be wrong, none a copy of another in kind, and where.

Four tiny UNets: ``tiny`` reads text, ``xl`` sizes and pooled text too, ``lcm`` a class and a
guidance scale, ``paint`` a mask and a masked image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from tests.exporter.parity.edits import (
    Edit,
    change_graph_input,
    change_input,
    change_output,
    edit_constant,
    find,
    nodes,
    swap,
)

F32, I64 = np.float32, np.int64
DOWN, UP = "down_blocks.0", "up_blocks.2"
RESNET = f"{DOWN}.resnets.0"
SPATIAL = f"{DOWN}.attentions.0"
BLOCK = f"{SPATIAL}.transformer_blocks.0"
SELF, CROSS = f"{BLOCK}.attn1", f"{BLOCK}.attn2"


@dataclass(frozen=True)
class Fault:
    """One wrong file.

    Attributes:
        edit: Makes it of a right one.
        module: Where the search must look: the module named, or the parent of it.
        model: Which UNet.
        halves: Whether it can be seen in fp16, too: its error is above what that noise hides.
    """

    edit: Edit
    module: str
    model: str = "tiny"
    halves: bool = True


def on(module: str, kind: str, change: Callable[[ir.Node], object], index: int = 0) -> Edit:
    return lambda model: change(find(model, module, kind, index)) and None


def set_to(name: str, value: Any) -> Callable[[ir.Node], None]:
    def change(node: ir.Node) -> None:
        old = node.attributes.get(name)
        if (old is not None and isinstance(old.value, float)) or isinstance(value, float):
            node.attributes[name] = ir.AttrFloat32(name, float(value))
        elif isinstance(value, list):
            node.attributes[name] = ir.AttrInt64s(name, value)
        else:
            node.attributes[name] = ir.AttrInt64(name, value)

    return change


def _constant(index: int, edit: Callable[[np.ndarray], object]) -> Callable[[ir.Node], None]:
    return lambda node: edit_constant(node, index, edit)


def _element(array: np.ndarray) -> None:
    array.reshape(-1)[7] *= 1.5


def _zero(axis: int) -> Callable[[np.ndarray], None]:
    def edit(array: np.ndarray) -> None:
        np.moveaxis(array, axis, 0)[3] = 0

    return edit


def _bfloat16(array: np.ndarray) -> np.ndarray:
    return (array.astype(F32).view(np.uint32) & np.uint32(0xFFFF0000)).view(F32)


def _int8(array: np.ndarray) -> np.ndarray:
    step = np.abs(array).max() / 127
    return np.round(array / step) * step


def on_output(build: Any) -> Callable[[ir.Node], None]:
    return lambda node: change_output(node, build)


def on_input(index: int, build: Any) -> Callable[[ir.Node], None]:
    return lambda node: change_input(node, index, build)


def on_graph(name: str, build: Any) -> Edit:
    return lambda model: change_graph_input(model, name, build)


def like(op: Any, number: float, value: ir.Value) -> ir.Value:
    """A number in the type of a value: (1,)."""
    made: ir.Value = op("CastLike", np.array([number], F32), value)
    return made


def _first_row(op: Any, value: ir.Value) -> ir.Value:
    """The first sample's for the whole batch."""
    first = op("Slice", value, np.array([0], I64), np.array([1], I64), np.array([0], I64))
    made: ir.Value = op("Expand", first, op("Shape", value))
    return made


def _cut(axis: int, most: int) -> Any:
    ends = np.array([most], I64)
    return lambda op, x: op("Slice", x, np.array([0], I64), ends, np.array([axis], I64))


def reverse(axis: int) -> Any:
    return lambda op, x: op(
        "Slice", x, *(np.array([n], I64) for n in (-1, -(2**31), axis, -1))
    )


def gathered(axis: int, order: list[int]) -> Any:
    return lambda op, x: op("Gather", x, np.array(order, I64), axis=axis)


def scaled(by: float) -> Any:
    return lambda op, x: op("Mul", x, like(op, by, x))


def _columns(values: list[float | None]) -> Any:
    """Columns of a matrix set to a number."""

    def build(op: Any, x: ir.Value) -> ir.Value:
        keep = np.array([[value is None for value in values]], F32)
        more = np.array([[value or 0.0 for value in values]], F32)
        kept = op("Mul", x, op("CastLike", keep, x))
        made: ir.Value = op("Add", kept, op("CastLike", more, x))
        return made

    return build


def _channels(count: int, start: int, stop: int, change: Any) -> Any:
    """Some channels of an image changed, the others as they are."""

    def build(op: Any, x: ir.Value) -> ir.Value:
        def part(low: int, high: int) -> ir.Value:
            bounds = (np.array([n], I64) for n in (low, high, 1))
            made: ir.Value = op("Slice", x, *bounds)
            return made

        parts = [part(0, start)] if start else []
        parts.append(change(op, part(start, stop)))
        parts += [part(stop, count)] if stop < count else []
        joined: ir.Value = op("Concat", *parts, axis=1)
        return joined

    return build


def _noise(op: Any, x: ir.Value) -> ir.Value:
    """Something like noise of 3e-6, a function of the value."""
    waves = op("Sin", op("Mul", x, like(op, 9973.0, x)))
    made: ir.Value = op("Add", x, op("Mul", waves, like(op, 3e-6, x)))
    return made


def _pixel(by: float) -> Any:
    """One pixel at the top left, in every channel."""

    def build(op: Any, x: ir.Value) -> ir.Value:
        one = op("CastLike", np.full((1, 1, 1, 1), by, F32), x)
        shape = op("Shape", x)
        size = op("Slice", shape, *(np.array([n], I64) for n in (2, 4, 0)))
        rest = op("Sub", size, np.array([1, 1], I64))
        pads = op("Concat", np.zeros(6, I64), rest, axis=0)
        made: ir.Value = op("Add", x, op("Pad", one, pads))
        return made

    return build


def _beyond(axis: int, size: int) -> Any:
    """What lies beyond a size along an axis is scaled."""

    def build(op: Any, x: ir.Value) -> ir.Value:
        def part(low: int, high: int) -> ir.Value:
            made: ir.Value = op("Slice", x, *(np.array([n], I64) for n in (low, high, axis)))
            return made

        end = 2**31
        rest = op("Mul", part(size, end), like(op, 1.01, x))
        made: ir.Value = op("Concat", part(0, size), rest, axis=axis)
        return made

    return build


def _replace(node: ir.Node, kind: str, **attributes: Any) -> None:
    """The same operands through another operator."""
    change_output(node, lambda op, _: op(kind, *node.inputs, **attributes))


def _drop(kept: int) -> Callable[[ir.Node], None]:
    def change(node: ir.Node) -> None:
        value = node.inputs[kept]
        change_output(node, lambda op, _: op("Identity", value))

    return change


def _skip(user: str, right: str, wrong: str, scale: float) -> Edit:
    """``user`` takes another level's skip, resized so that it fits."""

    def edit(model: ir.Model) -> None:
        value = next(v for n in nodes(model) for v in n.outputs if v.name == wrong)
        wanted = next(v for n in nodes(model) for v in n.outputs if v.name == right)
        scales = np.array([1, 1, scale, scale], F32)

        def resized(op: Any, _: ir.Value) -> ir.Value:
            shape = op("Shape", wanted)
            del shape
            made: ir.Value = op("Resize", value, None, scales, mode="nearest")
            return made

        where = _concat_of(model, user, wanted)
        change_input(*where, resized)

    return edit


def _concat_of(model: ir.Model, user: str, value: ir.Value) -> tuple[ir.Node, int]:
    """Who takes a skip: the call of a block where the file is folded, else its Concat."""
    takers = [
        (node, slot)
        for node, slot in value.uses()
        if node.domain == f"unet.{user}" or node.op_type == "Concat"
    ]
    return takers[-1]


def _double(model: ir.Model) -> None:
    output = model.graph.outputs[0]
    node = output.producer()
    assert node is not None
    change_output(node, lambda op, x: op("Cast", x, to=ir.DataType.DOUBLE))
    model.graph.outputs[0].type = ir.TensorType(ir.DataType.DOUBLE)


def _heads(node: ir.Node) -> None:
    for name in ("q_num_heads", "kv_num_heads"):
        node.attributes[name] = ir.AttrInt64(name, node.attributes[name].as_int() // 2)


GN, LN = "GroupNormalization", "LayerNormalization"
TIME = "time_embedding.linear_1"

FAULTS: dict[str, Fault] = {
    # parameters
    "conv bias by 1 %": Fault(
        on("down_blocks.1.resnets.0.conv1", "Conv", _constant(2, lambda a: a * 1.01)),
        "down_blocks.1.resnets.0.conv1",
        halves=False,
    ),
    "linear bias by 1 %": Fault(
        on(f"{BLOCK}.ff.net.2", "Add", _constant(1, lambda a: a * 1.01)),
        f"{BLOCK}.ff.net.2",
        halves=False,
    ),
    "time bias by 1 %": Fault(
        on(TIME, "Gemm", _constant(2, lambda a: a * 1.01)), TIME, halves=False
    ),
    "one weight by half": Fault(
        on("conv_in", "Conv", _constant(1, _element)), "conv_in", halves=False
    ),
    "output channel zeroed": Fault(
        on(f"{RESNET}.conv1", "Conv", _constant(1, _zero(0))), f"{RESNET}.conv1"
    ),
    "input channel zeroed": Fault(
        on(f"{RESNET}.conv2", "Conv", _constant(1, _zero(1))), f"{RESNET}.conv2"
    ),
    "kernel mirrored": Fault(
        on(f"{UP}.resnets.1.conv1", "Conv", _constant(1, lambda a: a[..., ::-1].copy())),
        f"{UP}.resnets.1.conv1",
    ),
    "kernel's axes exchanged": Fault(
        on(f"{UP}.resnets.1.conv2", "Conv", _constant(1, lambda a: a.swapaxes(2, 3).copy())),
        f"{UP}.resnets.1.conv2",
    ),
    "in and out channels exchanged": Fault(
        on(f"{RESNET}.conv2", "Conv", _constant(1, lambda a: a.swapaxes(0, 1).copy())),
        f"{RESNET}.conv2",
    ),
    "a weight rounded to fp16": Fault(
        on("mid_block.resnets.0.conv1", "Conv", _constant(1, lambda a: a.astype(np.float16))),
        "mid_block.resnets.0.conv1",
        halves=False,
    ),
    "a weight rounded to bf16": Fault(
        on("mid_block.resnets.1.conv1", "Conv", _constant(1, _bfloat16)),
        "mid_block.resnets.1.conv1",
        halves=False,
    ),
    "a weight rounded to int8": Fault(
        on("mid_block.resnets.1.conv2", "Conv", _constant(1, _int8)),
        "mid_block.resnets.1.conv2",
        halves=False,
    ),
    "linear weight transposed": Fault(
        on(f"{SELF}.to_q", "MatMul", _constant(1, lambda a: a.T.copy())), f"{SELF}.to_q"
    ),
    "bias dropped": Fault(on("conv_in", "Conv", _constant(2, lambda a: a * 0)), "conv_in"),
    "scale and shift of a norm exchanged": Fault(
        on(f"{BLOCK}.norm1", LN, lambda node: swap(node, 1, 2)), f"{BLOCK}.norm1"
    ),
    "beta by 1e-3": Fault(
        on(f"{BLOCK}.norm2", LN, _constant(2, lambda a: a + 1e-3)),
        f"{BLOCK}.norm2",
        halves=False,
    ),
    "one gamma by half": Fault(
        on(f"{RESNET}.norm1", GN, _constant(1, _element)),
        f"{RESNET}.norm1",
        halves=False,
    ),
    # operators and attributes
    "a group norm's epsilon": Fault(
        on(f"{RESNET}.norm1", GN, set_to("epsilon", 1e-3)),
        f"{RESNET}.norm1",
        halves=False,
    ),
    "a transformer norm's epsilon": Fault(
        on(f"{SPATIAL}.norm", GN, set_to("epsilon", 1e-5)),
        f"{SPATIAL}.norm",
        halves=False,
    ),
    "a layer norm's epsilon": Fault(
        on(f"{BLOCK}.norm3", LN, set_to("epsilon", 1e-4)),
        f"{BLOCK}.norm3",
        halves=False,
    ),
    "groups of a norm": Fault(
        on("conv_norm_out", GN, set_to("num_groups", 4)), "conv_norm_out"
    ),
    "padding shifted": Fault(
        on(f"{DOWN}.downsamplers.0.conv", "Conv", set_to("pads", [0, 0, 2, 2])),
        f"{DOWN}.downsamplers.0.conv",
    ),
    "dilation": Fault(
        on(
            f"{RESNET}.conv1",
            "Conv",
            lambda n: (set_to("dilations", [2, 2])(n), set_to("pads", [2] * 4)(n)),
        ),
        f"{RESNET}.conv1",
    ),
    "K and V exchanged": Fault(on(CROSS, "Attention", lambda n: swap(n, 1, 2)), CROSS),
    "Q and K exchanged": Fault(on(SELF, "Attention", lambda n: swap(n, 0, 1)), SELF),
    "attention scale dropped": Fault(on(SELF, "Attention", set_to("scale", 1.0)), SELF),
    "attention scale by 1 %": Fault(
        on(CROSS, "Attention", set_to("scale", 1.01 / 8**0.5)),
        CROSS,
        halves=False,
    ),
    "attention causal": Fault(on(SELF, "Attention", set_to("is_causal", 1)), SELF),
    "heads merged in pairs": Fault(on(SELF, "Attention", _heads), SELF),
    "logits capped": Fault(on(SELF, "Attention", set_to("softcap", 1.0)), SELF, halves=False),
    "Gelu by tanh": Fault(
        on(
            f"{BLOCK}.ff.net.0",
            "Gelu",
            lambda n: n.attributes.update(
                {"approximate": ir.AttrString("approximate", "tanh")}
            ),
        ),
        f"{BLOCK}.ff.net.0",
        halves=False,
    ),
    "Gelu is Swish": Fault(
        on(f"{BLOCK}.ff.net.0", "Gelu", lambda n: _replace(n, "Swish")), f"{BLOCK}.ff.net.0"
    ),
    "Swish is Relu": Fault(on("conv_act", "Swish", lambda n: _replace(n, "Relu")), "conv_act"),
    "gate and value exchanged": Fault(
        on(
            f"{BLOCK}.ff.net.0.proj",
            "Add",
            on_output(
                lambda op, x: op("Concat", _halves(op, x, 1), _halves(op, x, 0), axis=-1)
            ),
        ),
        f"{BLOCK}.ff.net.0",
    ),
    "difference for a sum": Fault(on(BLOCK, "Add", lambda n: _replace(n, "Sub")), BLOCK),
    "residual dropped": Fault(on(RESNET, "Add", _drop(1), 1), RESNET),
    "residual doubled": Fault(on(RESNET, "Add", on_input(0, scaled(2.0)), 1), RESNET),
    "time not added": Fault(
        on("down_blocks.1.resnets.0", "Add", _drop(0)), "down_blocks.1.resnets.0"
    ),
    "time added twice": Fault(on(RESNET, "Unsqueeze", on_output(scaled(2.0))), RESNET),
    # structure
    "skip of the level below": Fault(_skip("up_blocks.2", "skip_1", "skip_2", 2.0), UP),
    "skip before the trunk": Fault(on(UP, "Concat", lambda n: swap(n, 0, 1)), UP),
    "skip scaled by 0.1 %": Fault(
        on(UP, "Concat", on_input(1, scaled(1.001)), 1), UP, halves=False
    ),
    "upsampled linearly": Fault(
        on(
            "up_blocks.1.upsamplers.0",
            "Resize",
            lambda n: n.attributes.update({"mode": ir.AttrString("mode", "linear")}),
        ),
        "up_blocks.1.upsamplers.0",
    ),
    "upsampled half a pixel off": Fault(
        on(
            "up_blocks.1.upsamplers.0",
            "Resize",
            lambda n: n.attributes.update(
                {"nearest_mode": ir.AttrString("nearest_mode", "ceil")}
            ),
        ),
        "up_blocks.1.upsamplers.0",
    ),
    "tokens read column by column": Fault(
        on(
            SPATIAL,
            "Transpose",
            lambda n: n.attributes.update({"perm": ir.AttrInt64s("perm", [0, 3, 2, 1])}),
        ),
        SPATIAL,
    ),
    "an axis flipped": Fault(on("conv_in", "Conv", on_output(reverse(2))), "conv_in"),
    "an activation rounded to fp16": Fault(
        on(
            f"{RESNET}.conv2",
            "Conv",
            on_output(lambda op, x: op("CastLike", op("Cast", x, to=ir.DataType.FLOAT16), x)),
        ),
        f"{RESNET}.conv2",
        halves=False,
    ),
    # the time
    "sine and cosine exchanged": Fault(
        on("time_proj", "Concat", lambda n: swap(n, 0, 1)), "time_proj"
    ),
    "frequencies by 0.01 %": Fault(
        on("time_proj", "Mul", on_input(1, scaled(1.0001))), "time_proj", halves=False
    ),
    "timestep rounded": Fault(on_graph("timestep", lambda op, x: op("Round", x)), "time_proj"),
    "timestep at least 1": Fault(
        on_graph("timestep", lambda op, x: op("Max", x, np.array([1], F32))), "time_proj"
    ),
    "timestep at most 990": Fault(
        on_graph("timestep", lambda op, x: op("Min", x, np.array([990], F32))), "time_proj"
    ),
    "NaN at time 0": Fault(
        on_graph("timestep", lambda op, x: op("Div", op("Mul", x, x), x)), "time_proj"
    ),
    "first timestep for all": Fault(on_graph("timestep", _first_row), "time_proj"),
    # the batch, the sizes, the text
    "first sample's text for all": Fault(on_graph("encoder_hidden_states", _first_row), CROSS),
    "first sample's latents for all": Fault(on_graph("sample", _first_row), "conv_in"),
    "batch reversed": Fault(on_graph("encoder_hidden_states", reverse(0)), CROSS),
    "text cut at 77 tokens": Fault(on_graph("encoder_hidden_states", _cut(1, 77)), CROSS),
    "first token alone": Fault(on_graph("encoder_hidden_states", _cut(1, 1)), CROSS),
    "text beyond 77 tokens weighed more": Fault(
        on_graph("encoder_hidden_states", _beyond(1, 77)), CROSS, halves=False
    ),
    "rows beyond 64 scaled": Fault(
        on("conv_in", "Conv", on_output(_beyond(2, 64))), "conv_in"
    ),
    "columns beyond 60 scaled": Fault(
        on("conv_in", "Conv", on_output(_beyond(3, 60))), "conv_in"
    ),
    # the output
    "noise of 3e-6": Fault(
        on("conv_out", "Conv", on_output(_noise)), "conv_out", halves=False
    ),
    "one pixel by 9e-5": Fault(
        on("conv_out", "Conv", on_output(_pixel(9e-5))), "conv_out", halves=False
    ),
    "output by 1e-4": Fault(
        on("conv_out", "Conv", on_output(scaled(1.0001))), "conv_out", halves=False
    ),
    "output clipped": Fault(
        on(
            "conv_out",
            "Conv",
            on_output(lambda op, x: op("Min", x, op("Squeeze", like(op, 0.5, x)))),
        ),
        "conv_out",
    ),
    "output channels exchanged": Fault(
        on("conv_out", "Conv", on_output(gathered(1, [1, 0, 2, 3]))), "conv_out"
    ),
    "output in double": Fault(_double, ""),
    # the other conditions
    "crops ignored": Fault(
        on_graph("time_ids", _columns([None, None, 0, 0, None, None])), "add_time_proj", "xl"
    ),
    "original and target size exchanged": Fault(
        on_graph("time_ids", gathered(1, [4, 5, 2, 3, 0, 1])), "add_time_proj", "xl"
    ),
    "crop top and left exchanged": Fault(
        on_graph("time_ids", gathered(1, [0, 1, 3, 2, 4, 5])), "add_time_proj", "xl"
    ),
    "sizes rounded to multiples of 8": Fault(
        on_graph(
            "time_ids",
            lambda op, x: op("Mul", op("Round", op("Div", x, like(op, 8, x))), like(op, 8, x)),
        ),
        "add_time_proj",
        "xl",
    ),
    "first sample's sizes for all": Fault(
        on_graph("time_ids", _first_row), "add_time_proj", "xl"
    ),
    "pooled text ignored": Fault(on_graph("text_embeds", scaled(0.0)), "add_embedding", "xl"),
    "guidance of 8.5 for all": Fault(
        on_graph("timestep_cond", _first_row), "time_embedding", "lcm"
    ),
    "class 9 read as 8": Fault(
        on_graph("class_labels", lambda op, x: op("Min", x, np.array(8, I64))),
        "class_embedding",
        "lcm",
    ),
    "mask rounded": Fault(
        on_graph("sample", _channels(9, 4, 5, lambda op, x: op("Round", x))),
        "conv_in",
        "paint",
    ),
    "first sample's mask for all": Fault(
        on_graph("sample", _channels(9, 4, 5, _first_row)), "conv_in", "paint"
    ),
    "masked image ignored": Fault(
        on_graph("sample", _channels(9, 5, 9, scaled(0.0))), "conv_in", "paint"
    ),
}


def _halves(op: Any, x: ir.Value, index: int) -> ir.Value:
    bounds = ((0, 128), (128, 256))[index]
    made: ir.Value = op("Slice", x, *(np.array([n], I64) for n in (*bounds, -1)))
    return made
