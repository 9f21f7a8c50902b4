from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading

import pytest

from tests.viewer.tiny import build
from viewer.errors import NetronError, TargetError
from viewer.model.atlas import read
from viewer.serve import netron
from viewer.serve.netron import find
from viewer.serve.server import Server
from viewer.serve.shown import Shown


def ask(server, path, method="GET", body=None, **headers):
    host, port = server.server_address[:2]
    connection = http.client.HTTPConnection(host, port, timeout=10)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


def test_pages_carry_a_strict_policy(serve, atlas):
    server = serve(atlas)
    answer, page = ask(server, "/")
    assert answer.status == 200
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert b"<!-- data -->" not in page


def test_loopback_by_default(serve, atlas):
    assert serve(atlas).server_address[0] == "127.0.0.1"


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1:1", "", "localhost"]
)
def test_a_foreign_host_header_is_turned_away(serve, atlas, host):
    server = serve(atlas)
    name = host.format(port=server.server_address[1])
    for path in ("/", "/m/0/atlas.json", "/m/0/data/0"):
        answer, _ = ask(server, path, Host=name)
        assert answer.status == 421


def test_loopback_names_are_known(serve, atlas):
    server = serve(atlas)
    port = server.server_address[1]
    for name in ("localhost", "127.0.0.1", "[::1]"):
        assert ask(server, "/", Host=f"{name}:{port}")[0].status == 200


def test_pages_of_other_sites_get_nothing(serve, atlas):
    server = serve(atlas)
    foreign = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    assert ask(server, "/m/0/atlas.json", **foreign)[0].status == 403
    assert ask(server, "/", **foreign | {"Sec-Fetch-Mode": "navigate"})[0].status == 200
    assert ask(server, "/", **foreign | {"Sec-Fetch-Site": "same-origin"})[0].status == 200


def test_one_tensor_at_a_time(serve, atlas, tiny):
    server = serve(atlas)
    data = tiny.with_suffix(".data").read_bytes()
    answer, body = ask(server, "/m/0/data/0", Range="bytes=100-163")
    assert (answer.status, body) == (206, data[100:164])
    assert answer.headers["Content-Range"] == f"bytes 100-163/{len(data)}"


@pytest.mark.parametrize(
    "asked", [None, "bytes=0-", "bytes=-5", "bytes=5-4", "bytes=0-99999999", "x"]
)
def test_no_whole_file_and_no_odd_range(serve, atlas, asked):
    headers = {} if asked is None else {"Range": asked}
    answer, body = ask(serve(atlas), "/m/0/data/0", **headers)
    assert answer.status in (400, 416)
    assert len(body) < 100


@pytest.mark.parametrize(
    "path",
    [
        *("/../etc/passwd", "/web/../cli.py", "/web/%2e%2e/cli.py", "//etc/passwd"),
        *("/m/0/netron/../../../etc/passwd", "/m/0/netron/server.py", "/m/0/netron/tiny.data"),
        *("/m/0/netron/__init__.py", "/m/0/netron/%2e%2e%2fserver.py", "/m/0/data/1"),
        *("/m/7/atlas.json", "/atlas.json", "/web/none.js", "/web/page/none.js", "/web/"),
    ],
)
def test_nothing_else_is_served(serve, atlas, path):
    assert ask(serve(atlas), path)[0].status == 404


def test_only_the_token_may_upload(serve, atlas):
    server = serve(atlas)
    assert ask(server, "/export/guess", "POST", b"x")[0].status == 403
    assert ask(server, f"/export/{server.token}", "POST", b"figure")[0].status == 200
    assert server.uploads.get(timeout=5) == b"figure"
    assert ask(server, "/", "POST", b"x")[0].status == 404


def test_netron_page_is_extended_in_memory_only(serve, atlas):
    server = serve(atlas)
    _, page = ask(server, "/m/0/netron/index.html")
    text = page.decode()
    assert '<meta name="version" content="0.0.0">' in text
    assert 'name="date"' not in text
    assert text.index("/netron.js") < text.index("index.js")
    assert "/netron.js" not in (find().folder / "index.html").read_text()


def test_two_viewers_in_one_process_show_their_own_model(serve, atlas, tmp_path):
    other = read(build(tmp_path / "other.onnx", seed=1))
    first, second = serve(atlas), serve(other)
    for server, name in ((first, "tiny.onnx"), (second, "other.onnx")):
        assert json.loads(ask(server, "/m/0/atlas.json")[1])["file"] == name
    one = ask(first, "/m/0/data/0", Range="bytes=0-63")[1]
    two = ask(second, "/m/0/data/0", Range="bytes=0-63")[1]
    assert one != two


def test_a_port_in_use_is_said(serve, atlas):
    taken = serve(atlas).server_address[1]
    with pytest.raises(TargetError, match="another --port"):
        Server(Shown((atlas,)), find(), port=taken)
    with pytest.raises(TargetError, match="cannot listen"):
        Server(Shown((atlas,)), find(), port=99999)


def test_a_page_that_is_not_netrons(tmp_path):
    with pytest.raises(NetronError, match="not installed"):
        netron.find(tmp_path)
    (tmp_path / "index.html").write_text("<html><body></body></html>")
    with pytest.raises(NetronError, match="has changed"):
        netron.find(tmp_path).index("m.onnx")


def test_a_file_name_cannot_leave_its_attribute():
    page = find().index('"><script>alert(1)</script>.onnx').decode()
    assert "<script>alert" not in page


def test_a_comparison_is_served(serve, atlas, tmp_path):
    other = read(build(tmp_path / "other.onnx", seed=1))
    server = serve(atlas, other)
    assert json.loads(ask(server, "/compare.json")[1])["nodes"] == {}
    found = json.loads(ask(server, "/compare/weights.json")[1])
    assert found["equal"] == 0
    assert "conv_in" in found["different"]


@pytest.mark.parametrize("path", ["/", "/none"])
@pytest.mark.parametrize("asking", ["HTTP/1.0\r\n", "HTTP/1.1\r\nConnection: close\r\n"])
def test_a_connection_ends_when_that_is_asked_for(serve, atlas, path, asking):
    server = serve(atlas)
    host = f"127.0.0.1:{server.server_address[1]}"
    with socket.create_connection(server.server_address[:2], timeout=10) as connection:
        connection.sendall(f"GET {path} {asking}Host: {host}\r\n\r\n".encode())
        answer = b""
        while piece := connection.recv(1 << 16):  # a connection kept alive would time out
            answer += piece
    assert b"\r\nConnection: close\r\n" in answer


def test_half_open_connections_do_not_hold_a_thread_each(serve, atlas):
    server = serve(atlas)
    before = threading.active_count()
    with contextlib.ExitStack() as stack:
        for number in range(200):
            half = socket.create_connection(server.server_address[:2], timeout=10)
            stack.enter_context(half)
            half.sendall(b"GET / HT" if number % 2 else b"GET / HTTP/1.1\r\nHost: 127")
        for _ in range(200):
            assert ask(server, "/")[0].status == 200
            if threading.active_count() - before <= 40:
                break
        assert threading.active_count() - before <= 40


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST:80"])
def test_the_default_port_needs_no_number(serve, atlas, name):
    server = serve(atlas)
    server.server_address = ("127.0.0.1", 80)
    assert server.knows(name)
    assert not server.knows("localhost:81")


@pytest.mark.parametrize("port", ["²", "5" * 5000, "", "-1", "٣"])
def test_a_host_with_an_odd_port_is_turned_away(serve, atlas, port):
    server = serve(atlas)
    assert not server.knows(f"localhost:{port}")
    wrong = port.encode("utf-8").decode("latin-1")
    answer, _ = ask(server, "/", Host=f"127.0.0.1:{wrong}")
    assert answer.status == 421
    host = f"127.0.0.1:{server.server_address[1]}"
    answer, _ = ask(server, "/m/0/data/0", Host=host, Range=f"bytes=0-{wrong}")
    assert answer.status == 400
