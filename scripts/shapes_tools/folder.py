"""A trained pipeline as diffusers saves one, in half precision."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import diffusers
import torch

SHIPPED = Path(__file__).parents[2] / "exporter" / "presets" / "shapes"

_CLASSES = {
    "unet": ("diffusers", "UNet2DConditionModel"),
    "text_encoder": ("transformers", "CLIPTextModel"),
    "tokenizer": ("transformers", "CLIPTokenizer"),
    "vae": ("diffusers", "AutoencoderKL"),
    "scheduler": ("diffusers", "DDIMScheduler"),
    "safety_checker": (None, None),
    "feature_extractor": (None, None),
}


def save_pipeline(pipeline: Any, folder: Path) -> None:
    """Writes unet, text_encoder, tokenizer, vae, scheduler and model_index.json.

    Args:
        pipeline: Has the parts as attributes; weights are written in float16.
        folder: Made where it is not there; files of the same names are replaced.
    """
    for name in ("unet", "text_encoder", "vae"):
        part = getattr(pipeline, name)
        part.to(torch.float16).save_pretrained(folder / name, safe_serialization=True)
        part.to(torch.float32)
    pipeline.tokenizer.save_pretrained(folder / "tokenizer")
    pipeline.scheduler.save_pretrained(folder / "scheduler")
    index = {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": diffusers.__version__,
        "requires_safety_checker": False,
        **{name: list(kind) for name, kind in _CLASSES.items()},
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
