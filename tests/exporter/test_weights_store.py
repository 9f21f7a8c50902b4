import hashlib
import os
import shutil
import threading
import weakref
from pathlib import Path

import diffusers
import pytest
import torch
from onnx_ir.tensor_adapters import to_torch_dtype
from safetensors.torch import load_file

from exporter.errors import TargetError, UsageError
from exporter.source import load_source
from exporter.torch_dtypes import TORCH_DTYPES
from exporter.weights.checkpoint import Checkpoint
from exporter.weights.store import (
    can_link,
    copy_weights,
    digest,
    link_weights,
    written_by_us,
)

NAME = "diffusion_pytorch_model.safetensors"


@pytest.mark.parametrize("dtype", TORCH_DTYPES)
@pytest.mark.parametrize("origin", ["preset", "folder"])
def test_copy_is_a_safetensors_file(tmp_path, tiny_pipeline, origin, dtype):
    source = load_source("tiny" if origin == "preset" else str(tiny_pipeline))
    stored = copy_weights(source.weights, tmp_path / NAME, dtype)
    copied = load_file(tmp_path / NAME)
    assert copied.keys() == source.weights.tensors.keys()
    for name, tensor in copied.items():
        assert tensor.dtype == TORCH_DTYPES[dtype]
        assert torch.equal(tensor, source.weights.read(name).to(TORCH_DTYPES[dtype]))
    assert Checkpoint.open(tmp_path / NAME).tensors == stored.specs
    data = (tmp_path / NAME).read_bytes()
    assert (stored.sha256, stored.nbytes) == (hashlib.sha256(data).hexdigest(), len(data))


def test_diffusers_loads_the_copy(tmp_path, tiny_pipeline):
    source = load_source(str(tiny_pipeline))
    copy_weights(source.weights, tmp_path / NAME, "fp32")
    shutil.copy(tiny_pipeline / "unet" / "config.json", tmp_path)
    loaded = diffusers.UNet2DConditionModel.from_pretrained(tmp_path).state_dict()
    for name, tensor in loaded.items():
        assert torch.equal(tensor, source.weights.read(name))


def test_large_tensors_lie_aligned(tmp_path):
    stored = copy_weights(load_source("tiny").weights, tmp_path / NAME, "fp16")
    whole = [spec for spec in stored.specs.values() if spec.nbytes % 64 == 0]
    assert len(whole) > len(stored.specs) / 2
    assert all(spec.offset % 64 == 0 for spec in whole)


def test_order_is_kept(tmp_path):
    weights = load_source("tiny").weights
    order = sorted(weights.tensors, reverse=True)
    copy_weights(weights, tmp_path / NAME, "fp32", order=order)
    assert list(Checkpoint.open(tmp_path / NAME).tensors) == order


def test_progress_counts_every_byte(tmp_path):
    seen = []
    stored = copy_weights(load_source("tiny").weights, tmp_path / NAME, "fp32", seen.append)
    assert [event.done for event in seen] == sorted(event.done for event in seen)
    assert (seen[-1].done, seen[-1].total) == (stored.nbytes, stored.nbytes)


def test_full_disk_is_one_line(tmp_path):
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    with pytest.raises(TargetError, match="No space left on device") as caught:
        copy_weights(load_source("tiny").weights, full, "fp32")
    assert "\n" not in str(caught.value)


def test_lack_of_room_is_seen_before_writing(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(TargetError, match="free"):
        copy_weights(load_source("tiny").weights, tmp_path / NAME, "fp32")
    assert not (tmp_path / NAME).exists()


def test_unwritable_target_is_one_line(tmp_path):
    (tmp_path / "taken").mkdir()
    for path in (tmp_path / "taken", tmp_path / "absent" / NAME):
        with pytest.raises(TargetError, match=path.parent.name):
            copy_weights(load_source("tiny").weights, path, "fp32")


def test_interrupt_passes_through(tmp_path):
    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy_weights(load_source("tiny").weights, tmp_path / NAME, "fp32", interrupt)
    assert [
        thread for thread in threading.enumerate() if thread.name.startswith("ThreadPool")
    ] == []


@pytest.fixture
def folder(tiny_pipeline, tmp_path):
    return shutil.copytree(tiny_pipeline / "unet", tmp_path / "pipeline" / "unet")


@pytest.mark.parametrize("above", [0, 1, 2])
def test_link_points_into_the_checkpoint(folder, above):
    weights = load_source(str(folder)).weights
    onnx_dir = (folder, *folder.parents)[above]
    assert can_link(weights, onnx_dir, "fp32") is None
    specs = link_weights(weights, onnx_dir, "fp32")
    data = (folder / NAME).read_bytes()
    for name, spec in specs.items():
        assert not spec.file.relative_to(onnx_dir.resolve()).is_absolute()
        raw = data[spec.offset : spec.offset + spec.nbytes]
        assert raw == weights.read(name).numpy().tobytes()


def refused(weights, onnx_dir, dtype="fp32"):
    with pytest.raises(UsageError, match="--weights copy") as caught:
        link_weights(weights, onnx_dir, dtype)
    assert can_link(weights, onnx_dir, dtype) in str(caught.value)
    return str(caught.value)


def test_random_weights_cannot_be_linked(tmp_path):
    assert "no checkpoint" in refused(load_source("tiny").weights, tmp_path)


def test_checkpoint_elsewhere_cannot_be_linked(folder, tmp_path):
    weights = load_source(str(folder)).weights
    assert "below" in refused(weights, folder / "onnx")
    assert "below" in refused(weights, tmp_path / "other")


def test_other_dtype_cannot_be_linked(folder):
    assert "float32, not float16" in refused(load_source(str(folder)).weights, folder, "fp16")


def test_symlink_cannot_be_linked(folder, tmp_path):
    blob = tmp_path / "blob"
    (folder / NAME).rename(blob)
    (folder / NAME).symlink_to(blob)
    assert "symbolic link" in refused(load_source(str(folder)).weights, folder)


def test_folder_behind_a_symlink_cannot_be_linked(folder, tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "unet").symlink_to(folder)
    weights = load_source(str(tmp_path / "here" / "unet")).weights
    assert "below" in refused(weights, tmp_path / "here")


def test_hard_link_cannot_be_linked(folder, tmp_path):
    os.link(folder / NAME, tmp_path / "second")
    assert "2 hard links" in refused(load_source(str(folder)).weights, folder)


def test_digest_is_that_of_the_files(folder):
    files = [folder / NAME, folder / "config.json"]
    seen = []
    expected = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    assert digest(files, seen.append) == expected
    assert seen[-1].done == seen[-1].total == sum(file.stat().st_size for file in files)


def test_digest_of_an_absent_file_is_one_line(tmp_path):
    with pytest.raises(TargetError, match="absent"):
        digest([tmp_path / "absent"])


class Watched:
    """Weights that record how many bytes are alive at once."""

    def __init__(self, inner):
        self.inner, self.tensors, self.description = inner, inner.tensors, "watched"
        self.alive = self.peak = 0
        self.lock = threading.Lock()

    def read(self, name):
        tensor = self.inner.read(name)
        size = tensor.nbytes
        with self.lock:
            self.alive += size
            self.peak = max(self.peak, self.alive)
        weakref.finalize(tensor.untyped_storage(), self.release, size)
        return tensor

    def release(self, size):
        with self.lock:
            self.alive -= size


def test_copy_holds_three_tensors_at_most(tmp_path):
    watched = Watched(load_source("tiny-xl").weights)
    copy_weights(watched, tmp_path / NAME, "fp16")
    sizes = sorted(spec.nbytes for spec in watched.tensors.values())
    assert watched.peak <= sum(sizes[-3:])


def test_kept_modules_stay_in_fp32(tmp_path):
    weights = load_source("tiny").weights
    kept = ("mid_block", "conv_in")
    stored = copy_weights(weights, tmp_path / NAME, "fp16", keep_fp32=kept)
    copied = load_file(tmp_path / NAME)
    for name, tensor in copied.items():
        wanted = (
            torch.float32 if name.startswith(("mid_block.", "conv_in.")) else torch.float16
        )
        assert tensor.dtype == wanted == to_torch_dtype(stored.specs[name].dtype)
        assert torch.equal(tensor, weights.read(name).to(wanted))


def test_a_checkpoint_links_only_in_the_types_it_has(tmp_path, tiny_pipeline):
    weights = load_source(str(tiny_pipeline)).weights
    assert can_link(weights, tiny_pipeline, "fp32", ("mid_block",)) is None
    reason = can_link(weights, tiny_pipeline, "fp16", ("mid_block",))
    assert "stored as float32, not float16" in str(reason)
    assert can_link(weights, tiny_pipeline, "fp16", ("",)) is None


def test_what_we_wrote_is_known_again(tmp_path, tiny_pipeline):
    copy_weights(load_source("tiny").weights, tmp_path / NAME, "fp32")
    assert written_by_us(tmp_path / NAME)
    assert not written_by_us(tiny_pipeline / "unet" / NAME)
    (tmp_path / "other.safetensors").write_bytes(b"no header")
    assert not written_by_us(tmp_path / "other.safetensors")
    assert not written_by_us(tmp_path / "absent.safetensors")
