"""Text encoders, sampling stage and image decoder -> one graph of a few calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from exporter.sampler import cite
from exporter.sampler.control import call, invoke
from exporter.sampler.embed import as_function
from exporter.sampler.expr import (
    BOOL,
    FLOAT,
    INT64,
    Dim,
    Expr,
    concat,
    constant,
    dims,
    op,
    parameter,
    record,
    where,
)
from exporter.sampler.family import Family
from exporter.sampler.loop import Stage, sampling_stage
from exporter.sampler.scope import about, scope
from exporter.text_to_image.decoder import factor
from exporter.text_to_image.layout import Layout

PIPELINES = {
    "StableDiffusionPipeline": cite.PIPELINE,
    "StableDiffusionXLPipeline": cite.XL_PIPELINE,
}
SAMPLER = "Sampler"
DOMAIN = "picture"
SIZES_DOC = "SDXL is told the size it is to paint, and that nothing is cropped."

SAMPLER_DOC = """\
The sampling stage: `num_inference_steps` rounds of `Loop`, each with the UNet once and one
step of `{name}`.

{formula}"""

_NEGATIVE = "negative_"


@dataclass(frozen=True)
class Text:
    """What the text encoders make of one prompt.

    Attributes:
        states: ``prompt_embeds``, (B, S, D).
        pooled: ``pooled_prompt_embeds``, (B, P); None before SDXL.
    """

    states: Expr
    pooled: Expr | None

    def named(self, prefix: str) -> dict[str, Expr]:
        """By the pipelines' names."""
        found = {f"{prefix}prompt_embeds": self.states}
        if self.pooled is not None:
            found[f"{prefix}pooled_prompt_embeds"] = self.pooled
        return {name: value.named(name) for name, value in found.items()}


def picture_graph(
    layout: Layout,
    unet: ir.Model,
    parts: Mapping[str, ir.Model],
    family: Family,
) -> ir.Model:
    """Joins them.

    Args:
        layout: The pipeline.
        unet: Folded, with its weights; consumed.
        parts: Likewise, by name.
        family: The scheduler.

    Returns:
        A model that takes token ids and noise and gives the image.
    """
    opset = unet.opset_imports[""]
    stage = sampling_stage(unet, family, keep_steps=False)
    stage.graph.name = SAMPLER
    sampler = ir.Function("sampler", SAMPLER, graph=stage.graph, attributes=[])
    name = type(family.scheduler).__name__
    sampler.doc_string = SAMPLER_DOC.format(name=name, formula=family.formula)
    functions = [*stage.functions, sampler]  # callees first: ONNX's evaluator wants it so
    own: dict[str, ir.Function] = {}
    for part in layout.parts:
        model = parts[part.name]
        functions += model.functions.values()
        own[part.name] = as_function(model, part.function, part.name, part.doc)
    functions += own.values()
    with scope(opset) as top:
        inputs, image = _picture(layout, stage, sampler, own)
        graph = top.graph([e.value for e in inputs], [image.value], "text_to_image")
        functions += top.library.values()
    domains = {f.domain: 1 for f in functions}
    graph.opset_imports.update({**unet.opset_imports, **domains, "": opset})
    model = ir.Model(graph, ir_version=unet.ir_version, functions=functions)
    model.producer_name, model.producer_version = unet.producer_name, unet.producer_version
    return model


def _picture(
    layout: Layout, stage: Stage, sampler: ir.Function, own: Mapping[str, ir.Function]
) -> tuple[list[Expr], Expr]:
    """Every node at top level; returns the graph's inputs and its output."""
    wanted = {e.value.name or "": e for e in stage.inputs.in_order}
    both = "negative_prompt_embeds" in wanted
    ids, given, texts = _texts(layout, own, both=both)
    for key in ("latents", "noise", "guidance_scale", "guidance_rescale"):
        if key in wanted:
            given[key] = parameter(key, wanted[key].dtype, wanted[key].shape)
    given["num_inference_steps"] = parameter("num_inference_steps", INT64, ())
    found = {**given, **texts}
    if "time_ids" in wanted:
        time = _time_ids(layout, given["latents"])
        found |= {"time_ids": time, "negative_time_ids": time}
    with about(
        cite.line(PIPELINES[layout.kind], "__call__", "for i, t in enumerate"), "sampler"
    ):
        arguments = [found[key].to(spec.dtype) for key, spec in wanted.items()]
        shape = given["latents"].shape
        latents = invoke(sampler, arguments, {"out_latents": (FLOAT, shape)})["out_latents"]
    image = _image(layout, own[layout.decoder.name], latents)
    return [*ids, *given.values()], image


def _texts(
    layout: Layout, own: Mapping[str, ir.Function], *, both: bool
) -> tuple[list[Expr], dict[str, Expr], dict[str, Expr]]:
    """Inputs with token ids, the other inputs that concern the text, and the embeddings."""
    positive, negative = [], []
    for index, part in enumerate(layout.encoders):
        suffix = f"_{index + 1}" if index else ""
        shape = part.inputs[0].shape
        positive.append(parameter(f"input_ids{suffix}", INT64, shape))
        if both:
            negative.append(parameter(f"{_NEGATIVE}input_ids{suffix}", INT64, shape))
    source = cite.line(
        PIPELINES[layout.kind], "encode_prompt", "prompt_embeds = text_encoder("
    )
    if not layout.xl:
        source = cite.line(
            PIPELINES[layout.kind], "encode_prompt", "self.text_encoder(text_inp"
        )
    with about(source, "text_encoder"):
        encoded = [
            _encoded(own[part.name], ids, negative[i] if both else None)
            for i, (part, ids) in enumerate(zip(layout.encoders, positive, strict=True))
        ]
        texts = [_joined([one[half] for one in encoded]) for half in range(1 + both)]
    given: dict[str, Expr] = {}
    found = texts[-1].named("")
    if both:
        without = texts[0]
        if layout.zeroed:
            given["zero_negative"] = parameter("zero_negative", BOOL, ())
            without = _zeroed(layout, without, given["zero_negative"])
        found |= without.named(_NEGATIVE)
    return [*positive, *negative], given, found


def _encoded(encoder: ir.Function, ids: Expr, negative: Expr | None) -> list[list[Expr]]:
    """For each half, negative first: the states and, if any, the pooled embedding.

    Both halves go through the encoder in one batch: its weights are in the file once, and a
    runtime that inlines functions holds them once.
    """
    rows = ids
    shape: tuple[Dim, ...] = ids.shape
    if negative is not None:
        shape = ("2B", *ids.shape[1:])
        rows = concat([negative, ids], 0, shape).named("both_input_ids")
    kinds = {
        str(value.name): (_dtype(value), (shape[0], *dims(value)[1:]))
        for value in encoder.outputs
    }
    out = invoke(encoder, [rows], kinds)
    if negative is None:
        return [[*out.values()]]
    halves = [_halves(e, ids.shape[0]) for e in out.values()]
    return [[pair[0] for pair in halves], [pair[1] for pair in halves]]


def _halves(both: Expr, rows: Dim) -> list[Expr]:
    node = ir.node("Split", [both.value], {"axis": 0, "num_outputs": 2}, num_outputs=2)
    return record(node, [(both.dtype, (rows, *both.shape[1:]))] * 2)


def _joined(encoded: Sequence[Sequence[Expr]]) -> Text:
    """SDXL puts the states of both encoders side by side; the second pools."""
    states = [one[0] for one in encoded]
    width = sum(int(e.shape[2]) for e in states)
    whole = states[0]
    if len(states) > 1:
        whole = concat(states, 2, (*whole.shape[:2], width))
    return Text(whole, encoded[-1][1] if len(encoded[-1]) > 1 else None)


def _zeroed(layout: Layout, text: Text, flag: Expr) -> Text:
    """No negative prompt at all is zeros, where the pipeline's config says so."""
    source = cite.line(
        PIPELINES[layout.kind], "encode_prompt", "torch.zeros_like(prompt_embeds)"
    )
    with about(source, "text_encoder"):
        assert text.pooled is not None
        zero = constant(0.0, text.states.dtype)
        return Text(
            where(flag, zero, text.states),
            where(flag, constant(0.0, text.pooled.dtype), text.pooled),
        )


def _time_ids(layout: Layout, latents: Expr) -> Expr:
    """Original size, crop and target size as the pipeline has them by default: (B, 6)."""
    source = cite.line(PIPELINES[layout.kind], "_get_add_time_ids", "add_time_ids = list(")
    each = factor(layout.decoder.config)

    def write(latents: Expr) -> dict[str, Expr]:
        shape = op("Shape", latents, dtype=INT64, shape=(4,))
        axes = constant(np.array([2, 3]), INT64, "height_and_width")
        size = op("Gather", shape, axes, shape=(2,)) * constant(each, INT64)
        crop = constant(np.array([0, 0]), INT64, "no_crop")
        row = concat([size, crop, size], 0, (6,)).to(FLOAT)
        batch = op("Shape", latents, attributes={"end": 1}, dtype=INT64, shape=(1,))
        wanted = concat([batch, constant(np.array([6]), INT64, "six")], 0, (2,))
        return {"time_ids": op("Expand", row, wanted, shape=(latents.shape[0], 6))}

    with about(source, "text_encoder"):
        return call(DOMAIN, "TimeIds", write, {"latents": latents}, doc=SIZES_DOC)["time_ids"]


def _image(layout: Layout, decoder: ir.Function, latents: Expr) -> Expr:
    """``vae.decode``, and the image processor's end: (B, 3, height, width) from 0 to 1."""
    config, file = layout.decoder.config, PIPELINES[layout.kind]
    source = cite.line(file, "__call__", "self.vae.config.scaling_factor")
    with about(source, "image_decoder"):
        scaled = latents / float(config["scaling_factor"])
        if layout.xl and config.get("latents_mean") and config.get("latents_std"):
            scaled = scaled * _row(config["latents_std"]) + _row(config["latents_mean"])
        (out,) = decoder.outputs
        pixels = invoke(
            decoder,
            [scaled.named("scaled_latents").to(_dtype(decoder.inputs[0]))],
            {"pixels": (_dtype(out), dims(out))},
        )["pixels"].to(FLOAT)
    with about(cite.line("image_processor.py", "denormalize", "clamp"), "image_decoder"):
        lifted = pixels * 0.5 + 0.5
        return op("Clip", lifted, constant(0.0, FLOAT), constant(1.0, FLOAT)).named("image")


def _row(values: Sequence[float]) -> Expr:
    return constant(np.array(values, np.float32).reshape(1, -1, 1, 1), FLOAT, "by_channel")


def _dtype(value: ir.Value) -> ir.DataType:
    assert value.dtype is not None
    return value.dtype
