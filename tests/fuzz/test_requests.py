"""HTTP as nobody should speak it, to the viewer's server."""

from __future__ import annotations

import socket
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz import harness
from tests.fuzz.strategies import words
from viewer.model.atlas import read
from viewer.model.recording import read_recording
from viewer.serve import netron
from viewer.serve.sampling import Sampler
from viewer.serve.server import Server
from viewer.serve.shown import Shown

PATHS = (
    "/", "/page.js", "/web/page/main.js", "/netron/0/index.html", "/data/0/0", "/recording",
    "/recorded", "/compare", "/weights", "/offline", "/upload/x", "/sample/state/9",
    "/sample/begin", "/sample/ready", "/sample/cancel", "/sample/1/data",
)  # fmt: skip
VALUES = (
    "bytes=0-", "bytes=²-³", "bytes=9-1", f"bytes=0-{'9' * 5000}", "²", "-1", "5" * 5000,
    "close", "chunked",
)  # fmt: skip
HEADERS = ("Host", "Range", "Content-Length", "Origin", "Transfer-Encoding", "Connection")


@pytest.fixture(scope="module")
def server(materials):
    shown = Shown(
        (read(materials / "unet.onnx"),), {}, read_recording(materials / "run.safetensors")
    )
    server = Server(shown, netron.find(), sampler=Sampler([materials / "unet.onnx"]))
    server.start()
    yield server
    server.close()


@st.composite
def requests(draw: st.DrawFn, host: str) -> bytes:
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=200))
    method = draw(st.sampled_from(["GET", "POST", "HEAD", "PUT", "get", "X", ""]))
    path = draw(st.sampled_from(PATHS)) + draw(st.sampled_from(["", "", draw(words)]))
    version = draw(st.sampled_from(["HTTP/1.1", "HTTP/1.0", "HTTP/9.9", "HTTP/²", ""]))
    lines = [f"{method} {path} {version}"]
    if draw(st.integers(0, 3)):
        lines.append(f"Host: {host}")
    for name in draw(st.lists(st.sampled_from(HEADERS), max_size=3)):
        value = draw(st.one_of(st.sampled_from((*VALUES, host)), words))
        lines.append(f"{name}: {value}")
    text = "\r\n".join(lines) + "\r\n\r\n"
    return text.encode("utf-8", "replace") + draw(st.binary(max_size=20))


@given(st.data())
def test_any_request(server, capfd, data) -> None:
    host, port = server.server_address[:2]
    said = data.draw(requests(f"{host}:{port}"))
    answer, start = b"", time.monotonic()
    with socket.create_connection((host, port), timeout=10) as link:
        try:
            link.sendall(said)
            link.shutdown(socket.SHUT_WR)
            while piece := link.recv(1 << 16):
                answer += piece
        except OSError:  # it may hang up on what is no request
            pass
    harness.COUNTS["server " + answer[9:12].decode("latin-1")] += 1
    errors = capfd.readouterr().err
    assert errors == "", (said, errors)
    assert (
        not answer.startswith((b"HTTP/1.1 5", b"HTTP/1.0 5"))
        or b" 501 " in answer[:20]
        or b" 505 " in answer[:20]
    ), said
    assert time.monotonic() - start < 10, said
