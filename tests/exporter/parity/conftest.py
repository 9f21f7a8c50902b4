from pathlib import Path

import pytest

from exporter.pipeline import export
from exporter.source import load_source
from exporter.types import ExportRequest, Source


@pytest.fixture(scope="session")
def tiny_source(tiny_pipeline: Path) -> Source:
    return load_source(str(tiny_pipeline))


@pytest.fixture(scope="session")
def folded(tmp_path_factory: pytest.TempPathFactory, tiny_pipeline: Path) -> Path:
    """A tiny UNet as we write it; do not change it."""
    target = tmp_path_factory.mktemp("folded") / "unet.onnx"
    export(ExportRequest(target, model=str(tiny_pipeline), check=False))
    return target
