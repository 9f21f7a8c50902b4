"""A graph from the cache is the graph that would be built, or there is none."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import exporter.trace
from exporter import cache
from exporter.errors import GraphError
from exporter.pipeline import export
from exporter.types import ExportRequest

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
