"""A UNet of two levels written by hand as docs/FORMAT.md says, weights beside it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from exporter.digest import digests

CHANNELS, TEMB, TEXT = 8, 16, 12
CONFIG = {
    "_class_name": "UNet2DConditionModel",
    "sample_size": 16,
    "block_out_channels": [8, 8],
}
MAIN = helper.make_opsetid("", 23)


class Weights:
    """One file of raw float32, and the Constant nodes that point into it."""

    def __init__(self, path: Path, seed: int = 0) -> None:
        self.path, self.bytes, self.count = path, bytearray(), 0
        self.random = np.random.default_rng(seed)

    def tensor(self, name: str, shape: tuple[int, ...]) -> onnx.TensorProto:
        data = (self.random.standard_normal(shape) * 0.1).astype("<f4").tobytes()
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape)
        tensor.data_location = TensorProto.EXTERNAL
        place = {"location": self.path.name, "offset": len(self.bytes), "length": len(data)}
        for key, value in place.items():
            tensor.external_data.add(key=key, value=str(value))
        self.bytes += data
        self.count += int(np.prod(shape))
        return tensor


class Scope:
    """Nodes of one function (or of the graph) under construction."""

    def __init__(
        self, model: Model, module: str, cls: str, side: str, level: int | None
    ) -> None:
        self.model, self.module, self.cls = model, module, cls
        self.side, self.level = side, level
        self.nodes: list[onnx.NodeProto] = []
        self.infos: list[onnx.ValueInfoProto] = []
        self.start = model.weights.count

    def meta(self, module: str, role: str, more: dict[str, str]) -> dict[str, str]:
        meta = {"atlas.module": module, "atlas.role": role, "atlas.class": self.cls}
        meta["atlas.source"] = "diffusers/models/unets/unet_2d_condition.py:1200"
        if self.side:
            meta["atlas.side"] = self.side
        if self.level is not None:
            meta["atlas.level"] = str(self.level)
        return meta | more

    def op(self, op, inputs, out, shape, rel="", role="", attributes=None, **more):
        module = ".".join(part for part in (self.module, rel) if part)
        node = helper.make_node(
            op, inputs, [out], name=f"{module or 'unet'}/{op}_{len(self.nodes)}"
        )
        node.attribute.extend(
            helper.make_attribute(k, v) for k, v in (attributes or {}).items()
        )
        meta = self.meta(module, role, {f"atlas.{k}": v for k, v in more.items()})
        helper.set_metadata_props(node, meta)
        self.nodes.append(node)
        self.infos.append(helper.make_tensor_value_info(out, TensorProto.FLOAT, shape))
        return out

    def weight(self, name, shape):
        full = f"{self.module}.{name}" if self.module else name
        tensor = self.model.weights.tensor(full, shape)
        self.nodes.append(helper.make_node("Constant", [], [name], name=full, value=tensor))
        return name

    def ints(self, name, values):
        tensor = helper.make_tensor(name, TensorProto.INT64, [len(values)], values)
        self.nodes.append(
            helper.make_node("Constant", [], [name], name=f"{name}_c", value=tensor)
        )
        return name

    def call(self, inner: Scope, name, inputs, formals, results, outs, role, **more):
        """Closes ``inner`` into a function and calls it here."""
        domain = f"unet.{inner.module}"
        function = helper.make_function(
            domain,
            name,
            formals,
            results,
            inner.nodes,
            [MAIN, *inner.imports()],
            doc_string=f"**{inner.module}**: `{inner.cls}`",
            value_info=inner.infos,
        )
        self.model.functions.append(function)
        node = helper.make_node(
            name, inputs, [o for o, _ in outs], name=inner.module, domain=domain
        )
        params = str(self.model.weights.count - inner.start)
        extra = {f"atlas.{k.replace('__', '.')}": v for k, v in more.items()}
        helper.set_metadata_props(
            node, inner.meta(inner.module, role, {"atlas.params": params} | extra)
        )
        self.nodes.append(node)
        for out, shape in outs:
            self.infos.append(helper.make_tensor_value_info(out, TensorProto.FLOAT, shape))

    def imports(self):
        domains = {node.domain for node in self.nodes if node.domain}
        return [helper.make_opsetid(domain, 1) for domain in sorted(domains)]


class Model:
    def __init__(self, path: Path, seed: int = 0) -> None:
        self.path = path
        self.weights = Weights(path.with_suffix(".data"), seed)
        self.functions: list[onnx.FunctionProto] = []

    def scope(self, module, cls, side="", level=None):
        return Scope(self, module, f"diffusers.models.{cls}", side, level)


def image(level: int, channels: int = CHANNELS) -> list[int | str]:
    return (
        ["B", channels, "H", "W"]
        if level == 0
        else ["B", channels, f"H/{2**level}", f"W/{2**level}"]
    )


def tokens(level: int) -> str:
    return "HW" if level == 0 else f"HW/{4**level}"


def conv(s: Scope, x, out, shape, cin, cout, rel, role, stride=1, kernel=3, **more):
    w = s.weight(f"{rel}.weight" if rel else "weight", (cout, cin, kernel, kernel))
    attributes = {
        "kernel_shape": [kernel] * 2,
        "strides": [stride] * 2,
        "pads": [kernel // 2] * 4,
    }
    return s.op("Conv", [x, w], out, shape, rel, role, attributes, **more)


def resnet(model, outer: Scope, module, side, level, x, out, cin=CHANNELS, **more):
    s = model.scope(module, "resnet.ResnetBlock2D", side, level)
    shape = image(level)
    s.op("Sigmoid", ["hidden"], "act", image(level, cin), "nonlinearity", "resnet")
    conv(s, "act", "conv1", shape, cin, CHANNELS, "conv1", "resnet")
    w = s.weight("time_emb_proj.weight", (TEMB, CHANNELS))
    s.op("MatMul", ["temb", w], "proj", ["B", CHANNELS], "time_emb_proj", "time_embedding")
    s.op(
        "Unsqueeze",
        ["proj", s.ints("axes", [2, 3])],
        "vector",
        ["B", CHANNELS, 1, 1],
        "",
        "time_embedding",
    )
    s.op("Add", ["conv1", "vector"], "injected", shape, "", "time_injection", resnet=module)
    conv(s, "injected", "conv2", shape, CHANNELS, CHANNELS, "conv2", "resnet")
    short = "hidden"
    if cin != CHANNELS:
        short = conv(
            s, "hidden", "short", shape, cin, CHANNELS, "conv_shortcut", "resnet", kernel=1
        )
    s.op("Add", [short, "conv2"], "out", shape, "", "resnet")
    outer.call(
        s, "Resnet", [x, "temb"], ["hidden", "temb"], ["out"], [(out, shape)], "resnet", **more
    )


def attention(model, outer: Scope, module, side, level, x, out, text, cross):
    s = model.scope(module, "attention_processor.Attention", side, level)
    n, role = tokens(level), "cross_attention" if cross else "self_attention"
    source, width = ("text", TEXT) if cross else ("hidden", CHANNELS)
    count = "S" if cross else n
    for name, value, inner, rows in (
        ("q", "hidden", CHANNELS, n),
        ("k", source, width, count),
        ("v", source, width, count),
    ):
        w = s.weight(f"to_{name}.weight", (inner, CHANNELS))
        s.op("MatMul", [value, w], name, ["B", rows, CHANNELS], f"to_{name}", role)
    origin = "encoder_hidden_states" if cross else "sample,timestep"
    more = {"q": "sample,timestep", "k": origin, "v": origin, "heads": "2", "head_dim": "4"}
    s.op(
        "Attention",
        ["q", "k", "v"],
        "mixed",
        ["B", n, CHANNELS],
        "",
        role,
        {"q_num_heads": 2, "kv_num_heads": 2},
        **more,
    )
    w = s.weight("to_out.0.weight", (CHANNELS, CHANNELS))
    s.op("MatMul", ["mixed", w], "projected", ["B", n, CHANNELS], "to_out.0", role)
    s.op("Add", ["projected", "hidden"], "out", ["B", n, CHANNELS], "", role)
    formals = ["hidden", "text"] if cross else ["hidden"]
    inputs = [x, text] if cross else [x]
    name = "CrossAttention" if cross else "SelfAttention"
    outer.call(s, name, inputs, formals, ["out"], [(out, ["B", n, CHANNELS])], role, **more)


def transformer(model, outer: Scope, module, side, level, x, out, cross=True):
    s = model.scope(module, "transformers.Transformer2DModel", side, level)
    n = ["B", tokens(level), CHANNELS]
    s.op(
        "Reshape",
        ["hidden", s.ints("flat", [0, CHANNELS, -1])],
        "rows",
        ["B", CHANNELS, tokens(level)],
        "",
        "transformer",
    )
    s.op("Transpose", ["rows"], "tokens", n, "", "transformer", {"perm": [0, 2, 1]})
    b = model.scope(
        f"{module}.transformer_blocks.0", "attention.BasicTransformerBlock", side, level
    )
    attention(
        model, b, f"{b.module}.attn1", side, level, "tokens", "after_self", None, cross=False
    )
    attention(
        model,
        b,
        f"{b.module}.attn2",
        side,
        level,
        "after_self",
        "after_cross",
        "text",
        cross=True,
    )
    w = b.weight("ff.weight", (CHANNELS, CHANNELS))
    b.op("MatMul", ["after_cross", w], "ff", n, "ff", "feed_forward")
    b.op("Add", ["after_cross", "ff"], "out", n, "", "transformer")
    s.call(
        b,
        "TransformerBlock",
        ["tokens", "text"],
        ["tokens", "text"],
        ["out"],
        [("mixed", n)],
        "transformer",
    )
    s.op(
        "Transpose",
        ["mixed"],
        "columns",
        ["B", CHANNELS, tokens(level)],
        "",
        "transformer",
        {"perm": [0, 2, 1]},
    )
    s.op("Shape", ["hidden"], "size", [4], "", "shape")
    s.op("Reshape", ["columns", "size"], "square", image(level), "", "transformer")
    s.op("Add", ["square", "hidden"], "out", image(level), "", "transformer")
    outer.call(
        s,
        "Transformer",
        [x, "text"],
        ["hidden", "text"],
        ["out"],
        [(out, image(level))],
        "transformer",
    )


def build(path: Path, seed: int = 0, weights: bool = True) -> Path:
    """Writes ``path`` and its weights: 2 down, 1 mid, 2 up blocks, 4 skips, 6 injections."""
    m = Model(path, seed)
    g = m.scope("", "unets.UNet2DConditionModel")
    t = m.scope("time_embedding", "embeddings.TimestepEmbedding")
    t.op("Unsqueeze", ["timestep", t.ints("axes", [0, 1])], "t", [1, 1], "", "time_embedding")
    t.op("Sin", ["t"], "sinusoid", [1, 1], "", "time_embedding")
    w = t.weight("linear_1.weight", (1, TEMB))
    t.op("MatMul", ["sinusoid", w], "wide", [1, TEMB], "linear_1", "time_embedding")
    t.op("Sigmoid", ["wide"], "act", [1, TEMB], "act", "time_embedding")
    w = t.weight("linear_2.weight", (TEMB, TEMB))
    t.op("MatMul", ["act", w], "out", [1, TEMB], "linear_2", "time_embedding")
    g.call(
        t,
        "TimeEmbedding",
        ["timestep"],
        ["timestep"],
        ["out"],
        [("temb", [1, TEMB])],
        "time_embedding",
    )
    g.level = 0
    conv(
        g,
        "sample",
        "skip_0",
        image(0),
        4,
        CHANNELS,
        "conv_in",
        "conv_in",
        skip="0",
        skip_end="source",
    )
    down(m, g)
    middle(m, g)
    up(m, g)
    g.side, g.level = "", 0
    g.op("Sigmoid", ["hidden_up_1"], "act_out", image(0), "conv_act", "conv_out")
    conv(g, "act_out", "out_sample", image(0, 4), CHANNELS, 4, "conv_out", "conv_out")
    save(m, g, weights)
    return path


def down(m: Model, g: Scope) -> None:
    s = m.scope("down_blocks.0", "unets.unet_2d_blocks.CrossAttnDownBlock2D", "down", 0)
    resnet(m, s, "down_blocks.0.resnets.0", "down", 0, "hidden", "after_resnet")
    transformer(m, s, "down_blocks.0.attentions.0", "down", 0, "after_resnet", "skip_1")
    s.nodes[-1].metadata_props.extend(_pairs({"atlas.skip": "1", "atlas.skip_end": "source"}))
    d = m.scope("down_blocks.0.downsamplers.0", "downsampling.Downsample2D", "down", 0)
    conv(d, "hidden", "out", image(1), CHANNELS, CHANNELS, "conv", "downsample", stride=2)
    s.call(
        d,
        "Downsample",
        ["skip_1"],
        ["hidden"],
        ["out"],
        [("skip_2", image(1))],
        "downsample",
        skip="2",
        skip_end="source",
    )
    g.call(
        s,
        "CrossAttnDown",
        ["skip_0", "temb", "encoder_hidden_states"],
        ["hidden", "temb", "text"],
        ["skip_1", "skip_2"],
        [("skip_1", image(0)), ("skip_2", image(1))],
        "block",
        skip="1,2",
        skip_end="source",
    )
    s = m.scope("down_blocks.1", "unets.unet_2d_blocks.DownBlock2D", "down", 1)
    resnet(
        m,
        s,
        "down_blocks.1.resnets.0",
        "down",
        1,
        "hidden",
        "skip_3",
        skip="3",
        skip_end="source",
    )
    g.call(
        s,
        "Down",
        ["skip_2", "temb"],
        ["hidden", "temb"],
        ["skip_3"],
        [("skip_3", image(1))],
        "block",
        skip="3",
        skip_end="source",
    )


def middle(m: Model, g: Scope) -> None:
    s = m.scope("mid_block", "unets.unet_2d_blocks.UNetMidBlock2DCrossAttn", "mid", 1)
    resnet(m, s, "mid_block.resnets.0", "mid", 1, "hidden", "after_resnet")
    transformer(m, s, "mid_block.attentions.0", "mid", 1, "after_resnet", "out")
    g.call(
        s,
        "CrossAttnMid",
        ["skip_3", "temb", "encoder_hidden_states"],
        ["hidden", "temb", "text"],
        ["out"],
        [("hidden_mid", image(1))],
        "block",
    )


def up(m: Model, g: Scope) -> None:
    for index, level, ids in ((0, 1, "32"), (1, 0, "10")):
        s = m.scope(f"up_blocks.{index}", "unets.unet_2d_blocks.UpBlock2D", "up", level)
        x = "hidden"
        for number, skip in enumerate(ids):
            s.op(
                "Concat",
                [x, f"skip_{skip}"],
                f"cat_{number}",
                image(level, 2 * CHANNELS),
                "",
                "skip",
                {"axis": 1},
                skip=skip,
                skip_end="sink",
            )
            x = f"hidden_{number}"
            resnet(
                m,
                s,
                f"up_blocks.{index}.resnets.{number}",
                "up",
                level,
                f"cat_{number}",
                x,
                2 * CHANNELS,
            )
        after = level
        if index == 0:
            u = m.scope("up_blocks.0.upsamplers.0", "upsampling.Upsample2D", "up", 1)
            u.op(
                "Resize",
                ["hidden", "", "", u.ints("sizes", [1, CHANNELS, 16, 16])],
                "big",
                image(0),
                "",
                "upsample",
                {"mode": "nearest"},
            )
            conv(u, "big", "out", image(0), CHANNELS, CHANNELS, "conv", "upsample")
            s.call(
                u, "Upsample", [x], ["hidden"], ["out"], [("upsampled", image(0))], "upsample"
            )
            x, after = "upsampled", 0
        inputs = [
            "hidden_mid" if index == 0 else "hidden_up_0",
            *(f"skip_{i}" for i in ids),
            "temb",
        ]
        g.call(
            s,
            "Up",
            inputs,
            ["hidden", *inputs[1:]],
            [x],
            [(f"hidden_up_{index}", image(after))],
            "block",
            skip=",".join(sorted(ids)),
            skip_end="sink",
        )


def _pairs(entries: dict[str, str]) -> list[onnx.StringStringEntryProto]:
    return [onnx.StringStringEntryProto(key=k, value=v) for k, v in entries.items()]


def save(m: Model, g: Scope, weights: bool) -> None:
    graph = helper.make_graph(
        g.nodes,
        "unet",
        [
            helper.make_tensor_value_info("sample", TensorProto.FLOAT, image(0, 4)),
            helper.make_tensor_value_info("timestep", TensorProto.FLOAT, []),
            helper.make_tensor_value_info(
                "encoder_hidden_states", TensorProto.FLOAT, ["B", "S", TEXT]
            ),
        ],
        [helper.make_tensor_value_info("out_sample", TensorProto.FLOAT, image(0, 4))],
        value_info=[i for i in g.infos if i.name != "out_sample"],
    )
    domains = [function.domain for function in m.functions]
    imports = [MAIN, *(helper.make_opsetid(domain, 1) for domain in domains)]
    model = helper.make_model(
        graph, functions=m.functions, opset_imports=imports, ir_version=10
    )
    parity = {
        "verdict": "passed",
        "provider": "cpu",
        "atol": 1e-4,
        "rtol": 1e-3,
        "cases": [{"name": "1x16x16x77", "max_abs": 2e-6, "max_rel": 1e-5}],
    }
    helper.set_model_props(
        model,
        {
            "atlas.format": "1",
            "atlas.model": "tiny",
            "atlas.model.class": "UNet2DConditionModel",
            "atlas.model.config": json.dumps(CONFIG),
            "atlas.parity": json.dumps(parity),
            "atlas.weights": json.dumps({"source": "random", "parameters": m.weights.count}),
        },
    )
    m.path.write_bytes(model.SerializeToString())
    if weights:
        m.weights.path.write_bytes(m.weights.bytes)
        sign(m.path)


def sign(path: Path) -> None:
    """Ties the verdict that a file carries to the file as it is now."""
    model = onnx.load(path, "protobuf", load_external_data=False)
    (said,) = (entry for entry in model.metadata_props if entry.key == "atlas.parity")
    said.value = json.dumps({**json.loads(said.value), "digest": digests(path)})
    path.write_bytes(model.SerializeToString())
