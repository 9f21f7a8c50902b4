from pathlib import Path

import pytest

from exporter.parity.subject import Subject
from exporter.source import load_source
from exporter.types import Source


@pytest.fixture(scope="session")
def tiny_source(tiny_pipeline: Path) -> Source:
    return load_source(str(tiny_pipeline))


@pytest.fixture(scope="session")
def tiny_subject(tiny_source: Source) -> Subject:
    return Subject(tiny_source, provider="cpu")
