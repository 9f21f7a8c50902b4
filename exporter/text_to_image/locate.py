"""Which part of a wrong text-to-image file departs first: text encoder, sampler, decoder.

A copy of the file also gives out what goes from part to part. Each part is then asked alone,
with what the graph itself gave it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx
import torch

from exporter.parity.metrics import measure_floor
from exporter.runtime.session import Array, open_session
from exporter.sampler.locate import Departure as Inside
from exporter.sampler.verdict import FLOOR_FACTOR, ROUNDINGS
from exporter.text_to_image.inside import locate_inside
from exporter.text_to_image.join import SAMPLER
from exporter.text_to_image.plan import PicturePlan
from exporter.text_to_image.proof import (
    Case,
    Setup,
    make_setup,
    precisions,
    run_pipeline,
)
from exporter.text_to_image.reference import give_ids, load_pipeline, prompts
from exporter.torch_dtypes import TORCH_DTYPES

_PROBE = "probe."
_TEXTS = (
    "prompt_embeds",
    "negative_prompt_embeds",
    "pooled_prompt_embeds",
    "negative_pooled_prompt_embeds",
)


@dataclass(frozen=True)
class Departure:
    """The first part that is not the pipeline's.

    Attributes:
        part: ``text encoder``, ``sampler`` or ``VAE decoder``; empty if none was found alone.
        what: In words.
        inside: Which part of the sampler, if it is that.
    """

    part: str
    what: str
    inside: Inside | None = None

    def __str__(self) -> str:
        if not self.part:
            return "no part departs alone"
        said = f"first departs in the {self.part}: {self.what}"
        return f"{said}; in there it {self.inside}" if self.inside else said


def locate(path: Path, plan: PicturePlan, case: Case) -> Departure:
    """Runs the copy on one case and asks each part.

    Args:
        path: The file.
        plan: What it should be.
        case: One that fails.
    """
    setup = make_setup(plan, case)
    probed = probe(path)
    seen = open_session(
        probed.SerializeToString(),
        plan.request.provider,
        weights_folder=path.absolute().parent,
    ).run(setup.feeds)
    found = next(_departures(seen, setup, plan), Departure("", ""))
    if found.part != "sampler":
        return found
    given = {k.removeprefix(_PROBE): v for k, v in seen.items() if k.startswith(_PROBE)}
    return replace(found, inside=locate_inside(path, given, setup, plan))


def probe(path: Path) -> onnx.ModelProto:
    """The model, with inputs and output of the sampling stage given out."""
    model = onnx.load(path, load_external_data=False)
    call = next(node for node in model.graph.node if node.op_type == SAMPLER)
    function = next(f for f in model.functions if f.name == SAMPLER)
    kinds = {v.name: v for v in (*model.graph.value_info, *model.graph.input)}
    for formal, actual in zip(
        (*function.input, *function.output), (*call.input, *call.output), strict=True
    ):
        name = _PROBE + formal
        model.graph.node.append(onnx.helper.make_node("Identity", [actual], [name], name=name))
        shown = model.graph.output.add()
        shown.CopyFrom(kinds[actual])
        shown.name = name
    return model


def _departures(
    seen: Mapping[str, Array], setup: Setup, plan: PicturePlan
) -> Iterator[Departure]:
    """Every departure in the order of data."""
    found = {k.removeprefix(_PROBE): v for k, v in seen.items()}
    kinds = precisions(TORCH_DTYPES[plan.dtype])
    answers = [_answers(found, setup, plan, dtype) for dtype in kinds]
    truth, native = answers
    for name, part, what in (
        *((n, "text encoder", f"{n} is not what encode_prompt gives") for n in _TEXTS),
        ("time_ids", "text encoder", "time_ids are not the pipeline's"),
        ("out_latents", "sampler", "from the same embeddings and noise come other latents"),
        ("image", "VAE decoder", "from the same latents comes another image"),
    ):
        if name in truth and _apart(found[name], native[name], truth[name], plan):
            yield Departure(part, what)


def _answers(
    found: Mapping[str, Array], setup: Setup, plan: PicturePlan, dtype: torch.dtype
) -> dict[str, Array]:
    """What the pipeline's parts make of what the graph's parts were given."""
    pipeline = load_pipeline(plan, dtype)
    give_ids(pipeline, plan, setup.ids)
    guided = setup.case.guidance > 1
    asked: dict[str, Any] = prompts(setup.case.batch)
    if not setup.case.negative and plan.layout.zeroed:
        asked["negative_prompt"] = None
    own = {n: torch.from_numpy(found[n]).to(dtype) for n in _TEXTS if n in found}
    if not guided:
        own = {k: v for k, v in own.items() if not k.startswith("negative")}
    with torch.inference_mode():
        texts = pipeline.encode_prompt(
            **asked,
            device="cpu",
            num_images_per_prompt=1,
            do_classifier_free_guidance=guided,
        )
        answers = {
            name: value.double().numpy()
            for name, value in zip(_TEXTS, texts, strict=False)
            if name in own
        }
        latents = torch.from_numpy(found["out_latents"]).to(dtype)
        nothing = {"prompt": None, "negative_prompt": None}
        answers["out_latents"] = run_pipeline(
            pipeline, setup, dtype, output_type="latent", **nothing, **own
        )
        answers["image"] = _decoded(pipeline, latents)
    return answers


def _decoded(pipeline: Any, latents: torch.Tensor) -> Array:
    """As the end of the pipelines' ``__call__``."""
    config = pipeline.vae.config
    vae = pipeline.vae
    if (
        latents.dtype == torch.float16
        and config.force_upcast
        and "XL" in type(pipeline).__name__
    ):
        vae, latents = vae.float(), latents.float()
    scaled = latents / config.scaling_factor
    if "XL" in type(pipeline).__name__ and config.latents_mean and config.latents_std:
        mean, std = (
            torch.tensor(row, dtype=latents.dtype).view(1, -1, 1, 1)
            for row in (config.latents_mean, config.latents_std)
        )
        scaled = latents * std / config.scaling_factor + mean
    image = vae.decode(scaled, return_dict=False)[0]
    made: Array = pipeline.image_processor.postprocess(image, "pt").double().numpy()
    return made


def _apart(ours: Array, native: Array, truth: Array, plan: PicturePlan) -> bool:
    if ours.shape != truth.shape:
        return True
    floor = measure_floor(ours, native, truth, ROUNDINGS[plan.dtype])
    return floor is None or floor.ratio > FLOOR_FACTOR
