"""A folder of small real files, and commands that stop where minutes of work would begin."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests.exporter.conftest import MICRO
from tests.fuzz import harness
from tests.viewer import recorded
from tests.viewer.tiny import build

settings.register_profile(
    "fuzz",
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "25")),
    deadline=None,
    derandomize="FUZZ_EXAMPLES" not in os.environ,
    print_blob=True,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # no shrinking: cases are small
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("fuzz")  # before test modules are imported: no other test uses it


@pytest.fixture(scope="session")
def materials(tmp_path_factory: pytest.TempPathFactory, save_unet: Any) -> Path:
    """A checkpoint, files, a recording and a report, tiny and right; never changed."""
    root = tmp_path_factory.mktemp("materials")
    save_unet(root / "pipeline" / "unet", **MICRO)
    build(root / "unet.onnx")
    recorded.write(root / "run.safetensors")
    (root / "report.json").write_text('{"cases": [], "passed": true}')
    (root / "folder").mkdir()
    return root


@pytest.fixture(scope="session")
def fresh(materials: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """``fresh(*stems)``: a folder with copies of those materials, of all if none is named."""
    place = tmp_path_factory.mktemp("fuzz") / "here"

    def make(*names: str) -> Path:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        for path in materials.iterdir():
            if not names or path.stem in names:
                copy = shutil.copytree if path.is_dir() else shutil.copy
                copy(path, place / path.name)
        return place

    return make


@pytest.fixture(autouse=True)
def _no_long_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused is refused before this; what is not ends as if by Ctrl-C."""
    import huggingface_hub.constants
    import torch

    import exporter.parity.check
    import exporter.precision.search
    import viewer.cli
    import viewer.replay.cli
    from exporter.sample import record, sweep

    def stop(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(torch.export, "export", stop)
    monkeypatch.setattr(record, "instrument", stop)
    monkeypatch.setattr(sweep, "_run", stop, raising=False)
    monkeypatch.setattr(exporter.parity.check, "check", stop)
    monkeypatch.setattr(exporter.precision.search, "search", stop)
    monkeypatch.setattr(viewer.cli, "serve", lambda *_, **__: None)
    monkeypatch.setattr(viewer.replay.cli, "serve", lambda *_, **__: None)
    monkeypatch.setattr(viewer.cli, "_draw", lambda *_: None)


@pytest.fixture(autouse=True)
def _counted(request: pytest.FixtureRequest) -> Iterator[None]:
    """How much was tried goes into the report, which workers hand on."""
    harness.COUNTS.clear()
    yield
    tried = [(f"fuzz {name}", count) for name, count in harness.COUNTS.items()]
    request.node.user_properties.extend(tried)
