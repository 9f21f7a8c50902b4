"""A graph from the cache is the graph that would be built, or there is none."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import exporter.trace
import exporter.weights.unet
from exporter import cache
from exporter.errors import CheckpointError, GraphError
from exporter.pipeline import export
from exporter.source import load_source
from exporter.types import ExportRequest
from exporter.weights.blueprint import blueprint_of
from tests.exporter.conftest import Workshop

HAMMER = """
import sys
from exporter import cache
name, content = "a" * 64, bytes(range(256)) * 400
for _ in range(60):
    cache.save(name, content)
    found = cache.load(name)
    assert found in (None, content), "a torn entry"
    cache.save(sys.argv[1] * 64, content, limit=3 * len(content))
assert "torch" not in sys.modules
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv(cache.VARIABLE, str(folder))
    return folder


@pytest.fixture
def untraceable(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise GraphError("traced")

    monkeypatch.setattr(exporter.trace, "trace", refuse)


@pytest.fixture
def request_of(linked: Path) -> ExportRequest:
    return ExportRequest(linked / "unet.onnx", model=str(linked), check=False)


@pytest.mark.usefixtures("place")
def test_a_hit_writes_the_same_bytes_and_traces_nothing(
    request_of: ExportRequest, request: pytest.FixtureRequest
) -> None:
    built = export(request_of)
    first = request_of.target.read_bytes()
    request.getfixturevalue("untraceable")
    again = export(request_of)
    assert request_of.target.read_bytes() == first
    assert [stage.name for stage in again.stages if stage.name in ("cache", "trace")] == [
        "cache"
    ]
    assert (again.roles, again.passes) == (built.roles, built.passes)
    without = ExportRequest(
        request_of.target, model=request_of.model, check=False, cache=False
    )
    with pytest.raises(GraphError, match="traced"):
        export(without)
    other = ExportRequest(request_of.target, model=request_of.model, check=False, opset=23)
    with pytest.raises(GraphError, match="traced"):
        export(other)


@pytest.mark.parametrize("damage", [b"", b"short", None])
def test_a_damaged_entry_is_none_and_can_be_made_again(
    place: Path, damage: bytes | None
) -> None:
    cache.save("entry", b"the whole graph")
    (path,) = place.iterdir()
    path.write_bytes(path.read_bytes()[:-1] + b"?" if damage is None else damage)
    assert cache.load("entry") is None
    cache.save("entry", b"the whole graph")
    assert cache.load("entry") == b"the whole graph"


def test_the_longest_unused_go_when_there_are_too_many(place: Path) -> None:
    for name in "abc":
        cache.save(name, bytes(100), limit=400)
        assert cache.load("a") is not None
    cache.save("d", bytes(100), limit=400)
    assert [name for name in "abcd" if cache.load(name)] == ["a", "c", "d"]
    cache.save("e", bytes(1000), limit=400)
    assert sum(path.stat().st_size for path in place.iterdir()) <= 400


def test_two_processes_share_a_cache(place: Path) -> None:
    workers = [
        subprocess.Popen([sys.executable, "-c", HAMMER, name], stderr=subprocess.PIPE)
        for name in "bc"
    ]
    assert [(worker.communicate()[1], worker.returncode) for worker in workers] == [
        (b"", 0)
    ] * 2
    assert not [path for path in place.iterdir() if path.suffix == ".tmp"]


def test_a_name_follows_code_and_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one.py").write_text("x = 1\n")
    before = cache.code_digest(tmp_path)
    cache.code_digest.cache_clear()
    (tmp_path / "one.py").write_text("x = 2\n")
    assert cache.code_digest(tmp_path) != before
    name = cache.name_of(["unet"])
    assert cache.name_of(["unet", "fp16"]) != name
    monkeypatch.setattr(cache, "code_digest", lambda: before)
    assert cache.name_of(["unet"]) != name
    monkeypatch.undo()
    assert cache.name_of(["unet"]) == name
    monkeypatch.setattr(cache, "version", lambda package: "0")
    assert cache.name_of(["unet"]) != name


def test_a_folder_that_cannot_be_written_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "file"))
    cache.save("entry", b"graph")
    assert cache.load("entry") is None
    monkeypatch.setenv(cache.VARIABLE, "")
    cache.save("entry", b"graph")
    assert cache.load("entry") is None


WITHOUT = """
import sys
from pathlib import Path
from exporter.cli import main

assert main([*sys.argv[2:], "--no-check", "--quiet"]) == 0
loaded = {"torch", "diffusers", "transformers"} & sys.modules.keys()
assert bool(loaded) == (sys.argv[1] == "with"), loaded
"""


def _export(mode: str, target: Path, *more: str) -> bytes:
    command = [sys.executable, "-c", WITHOUT, mode, str(target), "--model", str(target.parent)]
    done = subprocess.run([*command, *more], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target.read_bytes()


@pytest.mark.usefixtures("place")
def test_a_hit_needs_neither_torch_nor_diffusers(
    workshop: Workshop, linked: Path, tmp_path: Path
) -> None:
    """Another checkpoint of a known architecture: linked, then copied byte for byte."""
    first = _export("with", linked / "unet.onnx")
    assert _export("without", linked / "unet.onnx") == first
    fine_tune = tmp_path / "fine-tune"
    workshop.save_as(fine_tune / "unet", "micro")
    weights = fine_tune / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\0")
    _export("without", fine_tune / "unet.onnx")
    _export("without", fine_tune / "copied.onnx", "--weights", "copy")
    stored, copied = load_file(weights), load_file(fine_tune / "copied.safetensors")
    assert stored.keys() == copied.keys()
    assert all(torch.equal(stored[name], copied[name]) for name in stored)
    check = exporter.check(fine_tune / "unet.onnx", str(fine_tune), provider="cpu")
    assert check.passed


@pytest.mark.usefixtures("place")
def test_weights_that_do_not_fit_are_refused_on_a_hit_too(
    workshop: Workshop, tmp_path: Path
) -> None:
    sound, broken = tmp_path / "sound", tmp_path / "broken"
    workshop.save_as(sound / "unet", "micro")
    shutil.copytree(sound, broken)
    file = broken / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    tensors["conv_in.bias"] = tensors["conv_in.bias"].int()
    del tensors["conv_out.bias"]
    save_file(tensors, file)
    load_source(str(sound), use_cache=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporter.weights.unet, "build_from_config", _refuse)
        load_source(str(sound), use_cache=True)
        with pytest.raises(CheckpointError, match=r"1 missing: conv_out.*conv_in.bias int32"):
            load_source(str(broken), use_cache=True)
        with pytest.raises(GraphError, match="built"):
            load_source(str(sound))


def _refuse(*_: Any) -> None:
    raise GraphError("built")


@pytest.mark.usefixtures("place")
def test_a_blueprint_follows_config_code_and_versions(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = workshop.pipeline("micro") / "unet"
    raw = json.loads((folder / "config.json").read_text())
    known = blueprint_of("UNet2DConditionModel", raw, use_cache=True)
    monkeypatch.setattr(exporter.weights.unet, "build_from_config", _refuse)
    again = {**raw, "_diffusers_version": "0.1", "_name_or_path": "elsewhere"}
    assert blueprint_of("UNet2DConditionModel", again, use_cache=True) == known
    for changed in ({**raw, "norm_eps": 1e-4}, {**raw, "_use_default_values": ["act_fn"]}):
        with pytest.raises(GraphError, match="built"):
            blueprint_of("UNet2DConditionModel", changed, use_cache=True)
    for fact in ("version", "code_digest"):
        with monkeypatch.context() as patch:
            patch.setattr(cache, fact, lambda *_: "another")
            with pytest.raises(GraphError, match="built"):
                blueprint_of("UNet2DConditionModel", raw, use_cache=True)
