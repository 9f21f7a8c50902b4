"""Whole tiny pipelines and their text-to-image files, made once."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import pytest
from safetensors import safe_open
from safetensors.torch import save_file

import exporter.text_to_image.make
from exporter.text_to_image.graph import PartGraph, build_part
from exporter.text_to_image.make import make_picture
from exporter.text_to_image.part import Part
from exporter.text_to_image.plan import PicturePlan, PictureRequest, make_plan
from exporter.text_to_image.proof import Case, prove
from tests.exporter.conftest import ARCHITECTURES
from tests.exporter.sample.tinysd import (
    XL_POOLED,
    XL_WIDTH,
    save_text_encoder,
    save_vae,
)

Made = Callable[..., tuple[Path, PicturePlan]]
ONE = (Case(2, height=8, width=8),)
KINDS = {
    "sd": "StableDiffusionPipeline",
    "sd2": "StableDiffusionPipeline",
    "xl": "StableDiffusionXLPipeline",
}
UNET_2 = {
    "use_linear_projection": True,
    "attention_head_dim": [1, 2],
    "upcast_attention": True,
}
"""What Stable Diffusion 2's UNet has beyond 1's."""
OPENCLIP = {"hidden_act": "gelu", "projection_dim": 8, "eos_token_id": 2, "pad_token_id": 1}
"""As the text encoder of Stable Diffusion 2: what OpenCLIP trained, in transformers' words."""
DDIM = {
    "_class_name": "DDIMScheduler",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "prediction_type": "v_prediction",
    "set_alpha_to_one": False,
    "skip_prk_steps": True,  # of PNDM: diffusers passes over it, and so do we
    "steps_offset": 1,
}
"""``scheduler_config.json`` of Stable Diffusion 2.1."""


@pytest.fixture(scope="session")
def pipelines(tmp_path_factory: pytest.TempPathFactory, workshop: Any) -> dict[str, Path]:
    """``sd``: Stable Diffusion over ``micro``; ``sd2``: 2.1; ``xl``: SDXL over ``tiny-xl``.

    ``xl16`` is ``xl`` in float16.
    """
    made = {}
    for kind, unet in (("sd", "micro"), ("sd2", "micro"), ("xl", "tiny-xl")):
        root = tmp_path_factory.mktemp("pipelines") / f"tiny-{kind}"
        more = UNET_2 if kind == "sd2" else {}
        workshop.save(root / "unet", **{**ARCHITECTURES[unet], **more})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecations inside the libraries that save
            if kind != "xl":
                own = OPENCLIP if kind == "sd2" else {}
                save_text_encoder(root / "text_encoder", 16, **own)
            else:
                save_text_encoder(root / "text_encoder", 32)
                save_text_encoder(root / "text_encoder_2", XL_WIDTH - 32, projected=XL_POOLED)
            save_vae(root / "vae")
            diffusers.EulerDiscreteScheduler(
                beta_start=0.00085,
                beta_end=0.012,
                beta_schedule="scaled_linear",
                steps_offset=1,
                timestep_spacing="leading",
            ).save_pretrained(root / "scheduler")
            if kind == "sd2":
                config = root / "scheduler" / "scheduler_config.json"
                config.write_text(json.dumps(DDIM))
        (root / "model_index.json").write_text(json.dumps({"_class_name": KINDS[kind]}))
        made[kind] = root
    made["xl16"] = _halved(made["xl"])
    return made


def _halved(pipeline: Path) -> Path:
    """A copy with all weights in float16, as most pipelines of SDXL are published."""
    target = pipeline.with_name("tiny-xl16")
    shutil.copytree(pipeline, target)
    for file in target.glob("*/*.safetensors"):
        with safe_open(file, "pt") as opened:
            tensors = {name: opened.get_tensor(name) for name in list(opened.keys())}
        halved = {k: v.half() if v.is_floating_point() else v for k, v in tensors.items()}
        save_file(halved, file, {"format": "pt"})
    return target


@pytest.fixture(scope="session")
def picture(pipelines: dict[str, Path], workshop: Any) -> Made:
    """``picture("sd", sampler="ddim", ...)``: a file beside its pipeline, and its plan.

    Unchecked unless ``check=True`` is among the wishes; then by one image.
    """
    made: dict[Any, tuple[Path, PicturePlan]] = {}
    traced: dict[str, PartGraph] = {}

    def build(part: Part, *how: Any) -> PartGraph:
        key = f"{part.weights.files[0]} {how[:2]}"
        if key not in traced:
            traced[key] = build_part(part, *how)
        return replace(traced[key], model=traced[key].model.clone())

    def make(kind: str, name: str = "own", **how: Any) -> tuple[Path, PicturePlan]:
        key = (kind, name, *sorted(how.items()))
        if key not in made:
            stem = name if name != "own" else "-".join(["own", *map(str, how.values())])
            target = pipelines[kind] / f"{stem}.onnx"
            wishes = {"check": False, **how}
            request = PictureRequest(target, str(pipelines[kind]), **wishes)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(exporter.text_to_image.make, "build", workshop._build)
                patch.setattr(exporter.text_to_image.make, "build_part", build)
                patch.setattr(exporter.text_to_image.make, "prove", partial(prove, cases=ONE))
                make_picture(request)
            made[key] = target, make_plan(request)
        return made[key]

    return make
