from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.viewer.tiny import build
from viewer.model.atlas import Atlas, read
from viewer.serve import netron
from viewer.serve.server import Server
from viewer.serve.shown import Shown


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("tiny") / "tiny.onnx")


@pytest.fixture(scope="session")
def atlas(tiny: Path) -> Atlas:
    return read(tiny)


@pytest.fixture
def serve() -> Iterator:
    servers = []

    def start(*atlases: Atlas, pages: netron.Netron | None = None, report=None) -> Server:
        server = Server(Shown(atlases, report or {}), pages or netron.find())
        server.start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def page(eyes, serve, atlas):
    return eyes.open(serve(atlas).url)
