"""Tiny exported UNets and a whole tiny random pipeline, made on the spot."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest

from exporter.pipeline import export
from exporter.sample.plan import RecordRequest
from exporter.sample.record import record
from exporter.types import ExportRequest
from tests.exporter.sample.tinysd import (
    STEPS,
    XL_POOLED,
    XL_WIDTH,
    Read,
    read,
    save_text_encoder,
    save_tokenizer,
    save_vae,
)

Exported = Callable[..., Path]


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """``exported(model, **request)``: an .onnx, made once for every set of arguments."""
    made: dict[tuple[Any, ...], Path] = {}

    def make(model: str, **request: Any) -> Path:
        key = (model, *sorted(request.items()))
        if key not in made:
            target = tmp_path_factory.mktemp("exported") / "unet.onnx"
            wanted = {"weights": "copy", "check": False, **request}
            export(ExportRequest(target, model=model, **wanted))
            made[key] = target
        return made[key]

    return make


@pytest.fixture(scope="session")
def whole_pipeline(tmp_path_factory: pytest.TempPathFactory, save_unet: Any) -> Path:
    """A tiny Stable Diffusion: text encoder, tokenizer, UNet, scheduler and VAE, random."""
    root = tmp_path_factory.mktemp("whole") / "tiny-sd"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside the libraries that save
        save_unet(root / "unet")
        save_tokenizer(root / "tokenizer")
        save_text_encoder(root / "text_encoder", 48)
        save_vae(root / "vae")
        diffusers.EulerDiscreteScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1
        ).save_pretrained(root / "scheduler")
    return root


@pytest.fixture(scope="session")
def whole_xl_pipeline(tmp_path_factory: pytest.TempPathFactory, save_unet: Any) -> Path:
    """A tiny SDXL's text side and UNet: two encoders, the second with a projection."""
    root = tmp_path_factory.mktemp("whole-xl") / "tiny-xl"
    save_unet(root / "unet", "tiny-xl")
    for suffix in ("", "_2"):
        save_tokenizer(root / f"tokenizer{suffix}")
    save_text_encoder(root / "text_encoder", 32)
    save_text_encoder(root / "text_encoder_2", XL_WIDTH - 32, projected=XL_POOLED)
    return root


@pytest.fixture(scope="session")
def request_(folded: Path, whole_pipeline: Path, tmp_path_factory: Any) -> RecordRequest:
    return RecordRequest(
        folded,
        tmp_path_factory.mktemp("recordings") / "run.safetensors",
        steps=STEPS,
        scheduler=str(whole_pipeline),
        prompt="a red cat",
        text_encoder=whole_pipeline,
        vae=whole_pipeline,
        maps="float32",
        compare=True,
        provider="cpu",
    )


@pytest.fixture(scope="session")
def recorded(request_: RecordRequest) -> Read:
    """20 Euler steps of a tiny pipeline with a prompt."""
    report = record(request_)
    assert report.largest_difference == 0  # bit for bit, at every one of the 20 steps
    assert report.nbytes == request_.target.stat().st_size
    return read(request_.target)
