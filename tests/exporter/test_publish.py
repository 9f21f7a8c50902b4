"""Files appear whole or not at all."""

import errno
import hashlib
import os
import shutil
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import onnx_ir as ir
import pytest
import torch
from safetensors.torch import save_file

from exporter.errors import GraphError, TargetError
from exporter.guards import guard_target, guard_weights
from exporter.publish import drafted, write
from exporter.source import load_source
from exporter.types import TensorSpec
from exporter.weights.attach import attach
from exporter.weights.store import copy_weights


def _names(folder):
    return sorted(path.name for path in folder.rglob("*"))


def _model():
    return ir.from_onnx_text(
        '<ir_version: 10, opset_import: ["" : 24]>'
        "g (float[B] x, float[2] w) => (float[B] y) { s = ReduceSum(w)\n y = Mul(x, s) }"
    )


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("absent/unet.onnx", "there is no folder"),
        ("folder.onnx", "is a folder"),
        ("unet.pt", "name that ends in .onnx"),
        ("unet", "name that ends in .onnx"),
    ],
)
def test_impossible_targets_are_refused(tmp_path, name, complaint):
    (tmp_path / "folder.onnx").mkdir()
    before = _names(tmp_path)
    with pytest.raises(TargetError, match=complaint):
        guard_target(tmp_path / name)
    assert _names(tmp_path) == before


def test_a_read_only_folder_is_refused(tmp_path, monkeypatch):
    def refuse(**_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(TargetError, match="cannot be written to: Read-only file system"):
        guard_target(tmp_path / "unet.onnx")


def test_an_existing_target_may_be_replaced(tmp_path):
    (tmp_path / "unet.onnx").write_bytes(b"old")
    guard_target(tmp_path / "unet.onnx")
    assert _names(tmp_path) == ["unet.onnx"]


def test_someones_checkpoint_is_not_replaced(tmp_path):
    save_file({"w": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(TargetError, match="which no export wrote"):
        guard_weights(tmp_path / "model.onnx", load_source("tiny").weights)
    guard_weights(tmp_path / "other.onnx", load_source("tiny").weights)


def test_what_is_being_exported_is_not_replaced(tmp_path, tiny_pipeline):
    unet = shutil.copytree(tiny_pipeline / "unet", tmp_path / "unet")
    place = unet / "diffusion_pytorch_model.safetensors"
    stored = copy_weights(load_source(str(unet)).weights, tmp_path / "c", "fp32")
    (tmp_path / "c").replace(place)  # even if it came from here
    with pytest.raises(TargetError, match="which is being exported"):
        guard_weights(place.with_suffix(".onnx"), load_source(str(unet)).weights)
    assert hashlib.sha256(place.read_bytes()).hexdigest() == stored.sha256


def test_our_own_weights_may_be_replaced(tmp_path):
    weights = load_source("tiny").weights
    copy_weights(weights, tmp_path / "unet.safetensors", "fp32")
    guard_weights(tmp_path / "unet.onnx", weights)


class _Stop(BaseException):
    pass


def _publish(target, text, *, copy=True, before=lambda: None):
    """One export in small; ``before`` is called when all is written and nothing published."""
    with drafted(target, copy=copy) as draft:
        draft.onnx.write_text(text)
        if draft.weights is not None:
            draft.weights.write_text(text)
        before()
        draft.publish()


@pytest.mark.parametrize("copy", [False, True])
def test_files_are_hidden_until_published(tmp_path, copy):
    def hidden():
        assert all(path.name.startswith(".") for path in tmp_path.iterdir())

    _publish(tmp_path / "unet.onnx", "new", copy=copy, before=hidden)
    expected = ["unet.onnx", "unet.safetensors"] if copy else ["unet.onnx"]
    assert _names(tmp_path) == expected
    assert all(path.read_text() == "new" for path in tmp_path.iterdir())


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("copy", [False, True])
def test_nothing_is_left_of_a_failure(tmp_path, copy, failure):
    def fail():
        raise failure

    (tmp_path / "unet.onnx").write_text("old")
    with pytest.raises(failure):
        _publish(tmp_path / "unet.onnx", "new", copy=copy, before=fail)
    assert _names(tmp_path) == ["unet.onnx"]
    assert (tmp_path / "unet.onnx").read_text() == "old"


@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("renames", range(3))
def test_interrupted_renames_leave_the_old_pair(
    tmp_path, monkeypatch, existing, links, renames
):
    def refused(*_, **__):
        raise OSError(errno.EPERM, "no hard links here")

    if not links:
        monkeypatch.setattr(os, "link", refused)
    most = 1 + (existing and not links)  # before the last
    names = ("unet.onnx", "unet.safetensors")
    for name in names if existing else ():
        (tmp_path / name).write_text("old")
    rename, count = Path.replace, 0

    def interrupted(path, to):
        nonlocal count
        if path.suffix != ".before" and count >= min(renames, most):
            raise _Stop
        count += 1
        return rename(path, to)

    with pytest.raises(_Stop):
        _publish(
            tmp_path / "unet.onnx",
            "new",
            before=lambda: monkeypatch.setattr(Path, "replace", interrupted),
        )
    assert _names(tmp_path) == (list(names) if existing else [])
    assert all((tmp_path / name).read_text() == "old" for name in _names(tmp_path))


def test_a_target_that_cannot_be_replaced_is_one_line(tmp_path):
    target = tmp_path / "unet.onnx"
    with pytest.raises(TargetError, match="cannot be replaced") as caught:
        _publish(target, "new", before=lambda: (target / "inside").mkdir(parents=True))
    assert "\n" not in str(caught.value)
    assert _names(tmp_path) == ["inside", "unet.onnx"]


def test_an_unwritable_folder_is_one_line(tmp_path):
    with (
        pytest.raises(TargetError, match="cannot be written to"),
        drafted(tmp_path / "gone" / "unet.onnx", copy=True),
    ):
        pytest.fail("there is no such folder")


def test_concurrent_runs_never_mix(tmp_path):
    """Whoever comes last has both files; a reader under the lock never sees two halves."""
    target, start = tmp_path / "unet.onnx", threading.Barrier(8)

    def run(index):
        start.wait()
        for turn in range(20):
            _publish(target, f"{index}-{turn}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(run, range(8)))
    assert _names(tmp_path) == ["unet.onnx", "unet.safetensors"]
    assert target.read_text() == target.with_suffix(".safetensors").read_text()


def test_parameters_become_initializers_where_they_lie(tmp_path):
    model = _model()
    file = tmp_path / "sub" / "w.safetensors"
    spec = TensorSpec("w", ir.DataType.FLOAT, (2,), file, offset=16, nbytes=8)
    attach(model, {"w": spec}, tmp_path, ["w"])
    assert [value.name for value in model.graph.inputs] == ["x"]
    tensor = model.graph.initializers["w"].const_value
    assert (tensor.location, tensor.offset, tensor.length) == ("sub/w.safetensors", 16, 8)


def test_a_parameter_without_weights_is_named(tmp_path):
    with pytest.raises(GraphError, match="reads w, which the checkpoint does not hold"):
        attach(_model(), {}, tmp_path, ["w"])


def test_metadata_is_text_or_json(tmp_path):
    write(_model(), tmp_path / "m.onnx", {"model": "tiny", "weights": {"b": 1, "a": [2]}})
    props = ir.load(tmp_path / "m.onnx").metadata_props
    assert props == {"atlas.model": "tiny", "atlas.weights": '{"a": [2], "b": 1}'}


def test_a_full_disk_is_one_line():
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with pytest.raises(TargetError, match="No space left on device") as caught:
        write(_model(), Path("/dev/full"), {})
    assert "\n" not in str(caught.value)
