"""huggingface_hub's own client against a small hub served from a folder on loopback."""

import hashlib
import http.server
import json
import socket
import threading
from urllib.parse import urlsplit

import huggingface_hub.constants
import onnx_ir as ir
import pytest
import torch

from exporter.errors import CheckpointError, SourceError
from exporter.source import load_source
from exporter.weights.store import can_link

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(http.server.BaseHTTPRequestHandler):
    """Serves ``server.root/NAME/...`` as the repository ``org/NAME`` at one commit."""

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = urlsplit(self.path).path.removeprefix("/api/models")
        _, organisation, name, kind, revision, *rest = [*path.split("/"), "", "", ""]
        folder = self.server.root / name
        if organisation != "org" or not folder.is_dir():
            return self.reply(404, error="RepoNotFound")
        if revision not in ("main", COMMIT):
            return self.reply(404, error="RevisionNotFound")
        if name == "gated" and kind != "revision":
            return self.reply(403, error="GatedRepo")
        if kind == "revision":
            return self.reply(200, {"id": f"org/{name}", "sha": COMMIT, "siblings": []})
        if kind == "tree":
            return self.reply(200, [self.entry(folder, file) for file in self.files(folder)])
        file = folder.joinpath(*filter(None, rest))
        if not file.is_file():
            return self.reply(404, error="EntryNotFound")
        if self.command == "GET":
            self.server.sent.append(file.relative_to(folder).as_posix())
        return self.reply(200, file.read_bytes())

    @staticmethod
    def files(folder):
        return sorted(file for file in folder.rglob("*") if file.is_file())

    @staticmethod
    def entry(folder, file):
        oid = hashlib.sha1(file.read_bytes()).hexdigest()
        path, size = file.relative_to(folder).as_posix(), file.stat().st_size
        return {"type": "file", "path": path, "size": size, "oid": oid}

    def reply(self, status, body=b"", error=None):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
        if error:
            self.send_header("X-Error-Code", error)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def log_message(self, *_):
        """Silent."""


@pytest.fixture(scope="module")
def repositories(tmp_path_factory, save_unet):
    root = tmp_path_factory.mktemp("hub")
    unet = save_unet(root / "public" / "unet")
    (unet / "diffusion_pytorch_model.bin").write_bytes(b"pickle")
    save_unet(unet, dtype=torch.float16, how={"variant": "fp16"})
    (root / "public" / "v1-5-pruned.safetensors").write_bytes(b"huge")
    save_unet(root / "bare")
    save_unet(root / "many" / "unet", how={"max_shard_size": "2MB"})
    save_unet(root / "pickled" / "unet", how={"safe_serialization": False})
    (root / "gated").mkdir()
    return root


@pytest.fixture
def hub(repositories, tmp_path, monkeypatch):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.root, server.sent = repositories, []
    address = f"http://127.0.0.1:{server.server_address[1]}"
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace("https://huggingface.co", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_pipeline_fetches_its_unet_and_nothing_else(hub, tmp_path, capfd):
    seen = []
    source = load_source("org/public", progress=seen.append)
    assert sorted(hub.sent) == ["unet/config.json", "unet/diffusion_pytorch_model.safetensors"]
    assert (source.name, source.origin, source.revision) == ("org/public", "hub", COMMIT)
    assert source.weights.read("conv_in.bias").shape == (32,)
    assert seen[-1].done >= sum(spec.nbytes for spec in source.weights.tensors.values())
    assert "Hugging Face cache" in can_link(source.weights, tmp_path, "fp32")
    assert capfd.readouterr() == ("", "")


def test_variant_is_fetched_alone(hub):
    source = load_source("org/public", variant="fp16")
    assert "unet/diffusion_pytorch_model.safetensors" not in hub.sent
    assert {spec.dtype for spec in source.weights.tensors.values()} == {ir.DataType.FLOAT16}


def test_shards_are_fetched(hub):
    source = load_source("org/many", revision=COMMIT)
    assert len(source.weights.files) > 1
    assert source.revision == COMMIT


def test_repository_may_be_the_unet_itself(hub):
    load_source("org/bare")
    assert sorted(hub.sent) == ["config.json", "diffusion_pytorch_model.safetensors"]


def test_second_time_works_offline(hub, monkeypatch):
    load_source("org/public")
    hub.sent.clear()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert load_source("org/public").revision == COMMIT
    assert hub.sent == []


def test_offline_without_a_cache_is_one_line(hub, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(SourceError, match="go online") as caught:
        load_source("org/public")
    assert "\n" not in str(caught.value)


def test_variant_that_is_not_cached_is_one_line_offline(hub, monkeypatch):
    load_source("org/public")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(SourceError, match="org/public") as caught:
        load_source("org/public", variant="fp16")
    assert "\n" not in str(caught.value)


def test_hub_that_is_down_is_one_line(hub, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", nowhere)
    with pytest.raises(SourceError, match="cannot be reached") as caught:
        load_source("org/public")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("model", "options", "error", "told"),
    [
        ("org/absent", {}, SourceError, "org/absent is neither on the hub"),
        ("org/gated", {}, SourceError, "org/gated is gated.*hf auth login"),
        ("org/public", {"revision": "v9"}, SourceError, "org/public has no revision v9"),
        ("org/public", {"subfolder": "prior"}, SourceError, "no config.json"),
        ("org/public", {"variant": "int8"}, CheckpointError, "holds no weights.*int8"),
        ("org/pickled", {}, CheckpointError, "holds no weights.*safetensors"),
        ("org/a--b", {}, SourceError, "org/a--b"),
    ],
)
def test_what_the_hub_lacks_is_one_line(hub, model, options, error, told):
    with pytest.raises(error, match=told) as caught:
        load_source(model, **options)
    assert "\n" not in str(caught.value)
