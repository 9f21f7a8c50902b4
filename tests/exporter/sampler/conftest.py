"""The sampler of one tiny UNet, in any scheduler, made from its file on the spot."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from exporter.denoising.schedules import LATENT_DIFFUSION
from exporter.pipeline import export
from exporter.sampler.make import make_sampler
from exporter.sampler.plan import SamplerPlan, SamplerRequest, make_plan
from exporter.types import ExportRequest

Made = Callable[..., tuple[Path, SamplerPlan]]


@pytest.fixture(scope="session")
def unet_file(workshop: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """``unet_file("micro")``: its .onnx, exported once."""
    made: dict[tuple[Any, ...], Path] = {}

    def make(name: str = "micro", **how: Any) -> Path:
        key = (name, *sorted(how.items()))
        if key not in made:
            target = tmp_path_factory.mktemp(name) / "unet.onnx"
            request = ExportRequest(target, str(workshop.pipeline(name)), check=False, **how)
            export(replace(request, weights="copy"))
            made[key] = target
        return made[key]

    return make


@pytest.fixture
def made(unet_file: Callable[..., Path]) -> Made:
    """``made("ddim", scheduler=folder, ...)``: a sampler's file, not checked, and its plan."""

    files = unet_file

    def make(
        sampler: str, unet: str = "micro", unet_file: Path | None = None, **how: Any
    ) -> tuple[Path, SamplerPlan]:
        file = unet_file or files(unet)
        target = file.with_name(f"{sampler.lower()}.sampler.onnx")
        request = SamplerRequest(
            target, file, sampler, check=False, **{"keep_steps": True, **how}
        )
        make_sampler(request)
        return target, make_plan(request)

    return make


@pytest.fixture
def save_config(tmp_path: Path) -> Callable[[Mapping[str, Any]], Path]:
    """A folder with a ``scheduler_config.json``: Stable Diffusion's values, then the given."""

    def save(config: Mapping[str, Any]) -> Path:
        text = json.dumps({**LATENT_DIFFUSION, "steps_offset": 1, **config})
        (tmp_path / "scheduler_config.json").write_text(text)
        return tmp_path

    return save


@pytest.fixture
def exact_roots(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch's square roots are correctly rounded, as IEEE 754 and ONNX Runtime have them.

    Its builds with MKL take a root that may be off by the last bit.
    """
    power = torch.Tensor.__pow__

    def root(x: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(np.asarray(np.sqrt(x.numpy())))

    def raised(x: torch.Tensor, exponent: Any) -> torch.Tensor:
        return root(x) if exponent == 0.5 else power(x, exponent)

    monkeypatch.setattr(torch.Tensor, "__pow__", raised)
    monkeypatch.setattr(torch.Tensor, "sqrt", root)
