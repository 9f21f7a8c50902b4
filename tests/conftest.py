"""Tiny UNets made on the spot, saved as diffusers saves them."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from tests.browser import chromium, eyes
from tests.floors import floors

__all__ = ["chromium", "eyes", "floors"]  # fixtures for every folder

os.environ["UNET_ATLAS_CACHE"] = ""  # no test leaves anything in, or reads, a user's cache
if "PYTEST_XDIST_WORKER" in os.environ:  # one worker a core
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)

SLOW = (
    "test_package.py",
    "test_public.py",
    "fuzz/",
    "scripts/test_bench.py",
    "scripts/test_floor.py",
    "viewer/test_page.py",
    "viewer/test_sample_page.py",
    "viewer/test_sampling.py",
    "viewer/test_server.py",
    "viewer/test_story.py",
    "viewer/test_targets.py",
    "viewer/test_views.py",
    *(
        f"exporter/test_{name}.py"
        for name in (
            "annotate",
            "cache",
            "clients",
            "export_cli",
            "fold",
            "killed",
            "lower",
            "pipeline",
            "simplify",
            "trace",
            "variant",
            "weights_single_file",
        )
    ),
    *(
        f"exporter/{name}/"
        for name in (
            "annotate",
            "conditions",
            "parity",
            "precision",
            "profile",
            "sample",
            "sampler",
            "text_to_image",
        )
    ),
)
"""Files and folders of more than about ten CPU seconds; the rest takes a minute and a half."""

MakeUNet = Callable[..., torch.nn.Module]
SaveUNet = Callable[..., Path]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks as ``slow`` what ``scripts/test --fast`` leaves out."""
    tests = Path(__file__).parent
    for item in items:
        if item.path.relative_to(tests).as_posix().startswith(SLOW):
            item.add_marker(pytest.mark.slow)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """How much fuzzing tried, and how near its limit a comparison of backends came."""
    tried, nearest = Counter[str](), (0.0, "")
    for report in terminalreporter.stats.get("", []):  # of set-up and teardown
        for name, value in report.user_properties if report.when == "teardown" else []:
            if name == "floors":
                nearest = max(nearest, (value, report.nodeid))
            elif name.startswith("fuzz "):
                tried[name] += value
    if tried:
        terminalreporter.write_line(f"fuzz: {tried.total()} examples")
    for name, count in sorted(tried.items()):
        terminalreporter.write_line(f"  {name}: {count}")
    if nearest[1]:
        terminalreporter.write_line(f"floors: {nearest[0]:.0%} of the limit in {nearest[1]}")


@pytest.fixture(scope="session")
def make_unet() -> MakeUNet:
    """``make_unet(preset="tiny", **config changes)``: a seeded UNet on the CPU."""

    def make(preset: str = "tiny", **changes: Any) -> torch.nn.Module:
        file = resources.files("exporter") / "presets" / f"{preset}.json"
        config = {**json.loads(file.read_text()), **changes}
        torch.manual_seed(0)
        unet: torch.nn.Module = getattr(diffusers, config["_class_name"]).from_config(config)
        return unet.eval().requires_grad_(False)

    return make


@pytest.fixture(scope="session")
def save_unet(make_unet: MakeUNet) -> SaveUNet:
    """``save_unet(folder, preset="tiny", dtype=..., how={...}, **config changes)``.

    Writes ``config.json`` and safetensors into ``folder`` with ``save_pretrained``, which
    takes ``how`` (``variant``, ``max_shard_size``, ``safe_serialization``).
    """

    def save(
        folder: Path,
        preset: str = "tiny",
        *,
        dtype: torch.dtype = torch.float32,
        how: dict[str, Any] | None = None,
        **changes: Any,
    ) -> Path:
        unet: Any = torch.nn.Module.to(make_unet(preset, **changes), dtype)
        unet.save_pretrained(folder, **(how or {}))
        return folder

    return save


@pytest.fixture(scope="session")
def tiny_pipeline(tmp_path_factory: pytest.TempPathFactory, save_unet: SaveUNet) -> Path:
    """A folder whose ``unet/`` holds a tiny checkpoint like sd15; do not change it."""
    root = tmp_path_factory.mktemp("models") / "tiny-pipeline"
    save_unet(root / "unet")
    return root


@pytest.fixture(scope="session")
def tiny_xl_pipeline(tmp_path_factory: pytest.TempPathFactory, save_unet: SaveUNet) -> Path:
    """Like ``tiny_pipeline``, with SDXL's conditioning."""
    root = tmp_path_factory.mktemp("models") / "tiny-xl-pipeline"
    save_unet(root / "unet", "tiny-xl")
    return root
