"""Whole exports: any size, every way of storing weights, whatever goes wrong."""

import errno
import hashlib
import json
import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import diffusers
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file, save_file

import exporter.pipeline
from exporter.errors import ParityError, ProviderError, TargetError, UsageError
from exporter.parity import ask
from exporter.parity.cases import ParityCase
from exporter.parity.inputs import make_inputs
from exporter.parity.precision import ComputeIn
from exporter.pipeline import export, export_all
from exporter.runtime import providers
from exporter.types import ExportRequest
from exporter.weights.unet import load_unet
from tests.exporter.listing import listing

KEPT = ("mid_block", "conv_norm_out")
STAGES = (
    "source", "trace", "lower", "simplify", "annotate", "weights", "fold", "write", "check",
)  # fmt: skip
REMEMBERED = ("trace", "lower", "simplify", "annotate")


def _session(path):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _inputs(unet, batch, height, width, tokens, times=1):
    random = torch.Generator().manual_seed(batch * height + width)
    return {
        "sample": torch.randn(batch, unet.config.in_channels, height, width, generator=random),
        "timestep": torch.rand(times, generator=random) * 999,
        "encoder_hidden_states": torch.randn(
            batch, tokens, unet.config.cross_attention_dim, generator=random
        ),
    }


def _check(floors, session, unet, inputs):
    """ONNX Runtime is as near the truth as PyTorch."""
    (ours,) = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
    with torch.inference_mode():
        theirs = unet(**inputs, return_dict=False)[0]
        with ComputeIn(torch.float64):
            truth = unet(**inputs, return_dict=False)[0]
    floors.check(ours, theirs, truth)


@pytest.fixture(scope="module")
def unet(workshop):
    folder = workshop.pipeline("micro") / "unet"
    return diffusers.UNet2DConditionModel.from_pretrained(folder).eval()


@pytest.fixture(scope="module")
def session(workshop):
    return _session(workshop.exported("micro"))


@pytest.mark.parametrize(
    ("batch", "height", "width", "tokens"),
    [
        (1, 8, 8, 1),
        (2, 8, 9, 77),
        (1, 9, 8, 154),
        (3, 33, 35, 77),
        (2, 60, 52, 5),
        (1, 8, 40, 2),
        (3, 15, 11, 32),
        (1, 7, 9, 3),
        (65, 8, 8, 2),
    ],
)
def test_any_size_with_one_graph(session, unet, batch, height, width, tokens, floors):
    _check(floors, session, unet, _inputs(unet, batch, height, width, tokens))


def test_a_timestep_for_each_sample(session, unet, floors):
    _check(floors, session, unet, _inputs(unet, 3, 9, 10, 4, times=3))


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("opset", range(20, 25))
def test_every_opset(workshop, linked, unet, opset, flat, floors):
    report = workshop.export(linked / "unet.onnx", linked, opset=opset, flat=flat)
    model = onnx.load(report.target, load_external_data=False)
    assert [(o.domain, o.version) for o in model.opset_import if not o.domain] == [("", opset)]
    assert bool(model.functions) != flat
    inputs = _inputs(unet, 2, 11, 10, 6)
    _check(floors, _session(report.target), unet, inputs)


@pytest.mark.parametrize(
    "name", ["tiny", "tiny-xl", "ddpm", "text-in-attn1", "added-kv", "resnet-steps"]
)
def test_every_architecture(workshop, name, floors):
    source, session = workshop.source(name), _session(workshop.exported(name))
    size = source.size_multiple
    case = ParityCase(2, 9 * size, 11 * size, 5, 261.25)
    inputs = make_inputs(case, source, "fp32")
    feeds = {
        spec.name: inputs[spec.name].reshape(-1)
        if spec.name == "timestep"
        else inputs[spec.name]
        for spec in source.inputs
    }
    (ours,) = session.run(None, {key: value.numpy() for key, value in feeds.items()})
    added = {key: feeds.pop(key) for key in ("text_embeds", "time_ids") if key in feeds}
    extra = {"added_cond_kwargs": added} if added else {}
    unet = load_unet(source, torch.float32)
    with torch.inference_mode():
        theirs = unet(**feeds, **extra, return_dict=False)[0].numpy()
        with ComputeIn(torch.float64):
            truth = unet(**feeds, **extra, return_dict=False)[0].numpy()
    floors.check(ours, theirs, truth, 2)


# Weights


def _external(path):
    """Location of every stored tensor: file name -> how many."""
    model, found = ir.load(path), {}
    tensors = [v.const_value for v in model.graph.initializers.values()]
    for function in model.functions.values():
        tensors += [n.attributes["value"].value for n in function if n.op_type == "Constant"]
    for tensor in tensors:
        if isinstance(tensor, ir.ExternalTensor):
            found[tensor.location] = found.get(tensor.location, 0) + 1
    return found


def _facts(path, key):
    return json.loads(ir.load(path).metadata_props[f"atlas.{key}"])


CHECKPOINT = "diffusion_pytorch_model.safetensors"


@pytest.mark.parametrize("place", [".", "unet"])
def test_auto_links_where_it_can(workshop, linked, unet, place, floors):
    before = sorted(path.name for path in linked.rglob("*.safetensors"))
    report = workshop.export(linked / place / "unet.onnx", linked)
    location = CHECKPOINT if place == "unet" else f"unet/{CHECKPOINT}"
    assert list(_external(report.target)) == [location]
    assert report.weights["mode"] == "link"
    digest = hashlib.sha256((linked / "unet" / CHECKPOINT).read_bytes()).hexdigest()
    assert report.weights["files"] == {CHECKPOINT: f"sha256:{digest}"}
    assert report.target.stat().st_size < 500_000
    assert sorted(path.name for path in linked.rglob("*.safetensors")) == before
    _check(floors, _session(report.target), unet, _inputs(unet, 1, 8, 8, 2))


def test_a_linked_file_works_wherever_both_are_moved(workshop, linked, unet, tmp_path, floors):
    workshop.export(linked / "unet.onnx", linked, weights="link")
    moved = linked.rename(tmp_path / "elsewhere")
    _check(floors, _session(moved / "unet.onnx"), unet, _inputs(unet, 1, 8, 8, 2))


def test_auto_copies_where_it_cannot_link(workshop, linked, unet, tmp_path, floors):
    report = workshop.export(tmp_path / "unet.onnx", linked.rename(tmp_path / "p") / "unet")
    assert report.weights["mode"] == "link"  # at or below the .onnx
    other = tmp_path / "other"
    other.mkdir()
    report = workshop.export(other / "unet.onnx", tmp_path / "p")
    assert report.weights["mode"] == "copy"
    assert list(_external(report.target)) == ["unet.safetensors"]
    assert sorted(path.name for path in other.iterdir()) == ["unet.onnx", "unet.safetensors"]
    copied = load_file(other / "unet.safetensors")
    assert all(torch.equal(copied[name], value) for name, value in unet.state_dict().items())
    _check(floors, _session(report.target), unet, _inputs(unet, 1, 8, 8, 2))


def test_linking_what_cannot_be_linked_is_refused(workshop, linked, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(UsageError, match=r"--weights link: .* is not in"):
        workshop.export(other / "unet.onnx", linked, weights="link")
    with pytest.raises(UsageError, match="--weights link: weights are random, seed 0"):
        workshop.export(other / "unet.onnx", "tiny", weights="link")
    with pytest.raises(UsageError, match="stored as float32, not float16"):
        workshop.export(linked / "unet.onnx", linked, weights="link", dtype="fp16")
    assert list(other.iterdir()) == []


def test_shards_are_linked_and_copied(workshop, tmp_path, unet, floors):
    how = {"max_shard_size": "300KB"}
    folder = workshop.save_as(tmp_path / "p" / "unet", "micro", how=how)
    shards = sorted(path.name for path in folder.glob("*.safetensors"))
    assert len(shards) > 1
    linked = workshop.export(tmp_path / "p" / "linked.onnx", tmp_path / "p", weights="link")
    assert set(_external(linked.target)) == {f"unet/{name}" for name in shards}
    assert set(linked.weights["files"]) == set(shards)
    copied = workshop.export(tmp_path / "p" / "copied.onnx", tmp_path / "p", weights="copy")
    assert list(_external(copied.target)) == ["copied.safetensors"]
    inputs = _inputs(unet, 1, 8, 8, 2)
    for report in (linked, copied):
        _check(floors, _session(report.target), unet, inputs)


def test_half_precision_keeps_what_it_is_told_to(workshop, linked):
    kept = KEPT
    target = linked / "half.onnx"
    report = workshop.export(target, linked, dtype="fp16", keep_fp32=kept, check=True)
    assert report.parity.passed
    assert (report.weights["mode"], report.weights["dtype"]) == ("copy", "fp16")
    assert report.weights["keep_fp32"] == list(kept)
    for name, tensor in load_file(linked / "half.safetensors").items():
        wanted = torch.float32 if name.startswith(kept) else torch.float16
        assert tensor.dtype == wanted, name
    types = {spec.name: spec.type for spec in _session(target).get_inputs()}
    assert types == {
        "sample": "tensor(float16)",
        "timestep": "tensor(float)",
        "encoder_hidden_states": "tensor(float16)",
    }


# What the file says about itself


def test_the_verdict_is_in_the_file(workshop, linked):
    report = workshop.export(linked / "unet.onnx", linked, check=True)
    parity = _facts(report.target, "parity")
    assert parity["verdict"] == "passed"
    assert parity["provider"] in ("cpu", "cuda")
    assert {parity["atol"], parity["rtol"]} == {1e-4}
    assert len(parity["cases"]) == len(report.parity.cases) == 3
    assert all(case["max_abs"] < 1e-4 for case in parity["cases"])
    onnx.checker.check_model(str(report.target), full_check=True)


def test_what_was_not_checked_says_so(workshop):
    assert _facts(workshop.exported("micro"), "parity") == {"verdict": "skipped"}


def test_the_file_says_what_it_is(workshop, unet):
    path = workshop.exported("micro")
    props = ir.load(path).metadata_props
    assert props["atlas.format"] == "1"
    assert props["atlas.model"] == "micro"
    assert props["atlas.model.class"] == "UNet2DConditionModel"
    assert props["atlas.size_multiple"] == "1"
    config = _facts(path, "model.config")
    assert config["block_out_channels"] == [16, 32]
    assert set(_facts(path, "versions")) >= {"torch", "diffusers", "onnx", "unet-atlas"}
    weights = _facts(path, "weights")
    assert weights["source"] == "checkpoint"
    assert weights["parameters"] == sum(p.numel() for p in unet.parameters())
    for role in ("cross_attention", "time_injection", "skip"):
        assert role in props["atlas.legend"]


def test_a_preset_says_that_its_weights_are_random(workshop, tmp_path):
    report = workshop.export(tmp_path / "unet.onnx", "tiny", seed=3)
    weights = _facts(report.target, "weights")
    assert (weights["source"], weights["seed"]) == ("random", 3)
    assert "random" in weights["description"]
    assert report.to_json()["weights"]["source"] == "random"


def test_the_report_is_json(workshop, linked):
    report = workshop.export(linked / "unet.onnx", linked)
    values = json.loads(json.dumps(report.to_json()))
    assert [stage["name"] for stage in values["stages"]] == list(STAGES[:-1])
    assert values["nodes_traced"] > values["nodes_flat"] > values["nodes_top"]
    assert values["roles"]["cross_attention"] == 4
    assert values["parity"] is None


# Whatever goes wrong


@pytest.fixture(params=["link", "copy", "packed"])
def target(request, workshop, linked):
    """A target that an earlier export left, and how its weights are stored."""
    path = linked / "unet.onnx"
    workshop.export(path, linked, weights=request.param)
    return path, request.param


@pytest.mark.parametrize("stage", STAGES)
def test_ctrl_c_leaves_the_target_as_it_was(workshop, target, stage):
    path, mode = target
    before = listing(path.parent)

    def interrupt(event):
        if event.stage == stage:
            raise KeyboardInterrupt

    how = {"model": str(path.parent), "weights": mode, "check": True}
    # Interrupted beside the thread that copies, a stage has to be at work, not remembered.
    at_work = stage in REMEMBERED and mode == "copy"
    remembering = nullcontext() if at_work else workshop.remembering()
    with pytest.raises(KeyboardInterrupt), remembering:
        export(ExportRequest(path, **how), interrupt)
    assert listing(path.parent) == before


def test_ctrl_c_stops_the_copy_before_its_folder_goes(workshop, linked, monkeypatch):
    """The thread that copies is in the middle of a tensor when the trace is interrupted."""
    before, reading, interrupted = listing(linked), threading.Event(), threading.Event()
    weights, read = workshop.source("micro").weights, []
    original = type(weights).raw

    def slow(self, name):
        reading.set()
        assert interrupted.wait(60)
        time.sleep(0.01)
        read.append(name)
        return original(self, name)

    def interrupt(event):
        if event.stage == "trace":
            assert reading.wait(60)
            interrupted.set()
            raise KeyboardInterrupt

    monkeypatch.setattr(type(weights), "raw", slow)
    request = ExportRequest(linked / "u.onnx", str(linked), weights="copy", check=False)
    with pytest.raises(KeyboardInterrupt):
        export(request, interrupt)
    assert listing(linked) == before
    assert len(read) < len(weights.tensors)  # it ended early


@pytest.mark.parametrize(
    ("target", "writes"),
    [("link", 0), ("copy", 0), ("copy", 1), ("packed", 0)],
    indirect=["target"],
)
def test_a_full_disk_leaves_the_target_as_it_was(workshop, target, monkeypatch, writes):
    """Full when the first file is synced, then when the second is."""
    path, mode = target
    before, synced, original = listing(path.parent), [], os.fsync

    def full(descriptor):
        synced.append(descriptor)
        if len(synced) > writes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        original(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TargetError, match="No space left on device") as caught:
        workshop.export(path, path.parent, weights=mode)
    assert "\n" not in str(caught.value)
    assert listing(path.parent) == before


@pytest.mark.parametrize("target", ["copy"], indirect=True)
def test_a_failed_proof_leaves_the_target_as_it_was(workshop, target, monkeypatch):
    path, mode = target
    before = listing(path.parent)

    def wrong(source, dtype, *rest, **more):
        unet = load_unet(source, dtype, *rest, **more)
        with torch.no_grad():
            unet.conv_in.bias.copy_(unet.conv_in.bias * 1.5)
        return unet

    monkeypatch.setattr(ask, "load_unet", wrong)
    said = r"differs from PyTorch at B\dH\d+W\d+S\d+T.*; first in conv_in: Conv"
    with pytest.raises(ParityError, match=said) as caught:
        workshop.export(path, path.parent, weights=mode, check=True)
    assert caught.value.exit_code == 1
    assert listing(path.parent) == before


def test_nothing_appears_where_nothing_was(workshop, linked, monkeypatch):
    before = listing(linked)

    def stop(event):
        if event.stage == "write":
            raise KeyboardInterrupt

    for mode in ("link", "copy"):
        with pytest.raises(KeyboardInterrupt):
            workshop.export(linked / "unet.onnx", linked, on_progress=stop, weights=mode)
        assert listing(linked) == before


def test_two_runs_to_one_target(workshop, tmp_path):
    """Both succeed; what is left is one of them, whole."""
    workshop.graph("micro")
    one = workshop.pipeline("micro")
    two = shutil.copytree(one / "unet", tmp_path / "two")
    weights = load_file(two / CHECKPOINT)
    save_file({k: v + 1 for k, v in weights.items()}, two / CHECKPOINT, {"format": "pt"})
    out = tmp_path / "out"
    out.mkdir()
    target, start = out / "unet.onnx", threading.Barrier(2)

    def run(folder):
        start.wait()
        request = ExportRequest(target, model=str(folder), weights="copy", check=False)
        return export(request, graphs=workshop.graphs)

    for _ in range(3):
        with ThreadPoolExecutor(2) as pool:
            reports = list(pool.map(run, (one, two)))
        assert sorted(path.name for path in out.iterdir()) == ["unet.onnx", "unet.safetensors"]
        digest = hashlib.sha256((out / "unet.safetensors").read_bytes()).hexdigest()
        said = _facts(target, "weights")["files"]
        assert said == {"unet.safetensors": f"sha256:{digest}"}
        assert said in [report.weights["files"] for report in reports]


# Refused before any work


@pytest.mark.parametrize(
    ("wishes", "error", "complaint"),
    [
        ({"opset": 19}, UsageError, "--opset 19; expected 20 to 24"),
        ({"opset": 25}, UsageError, "--opset 25"),
        ({"opset": 0}, UsageError, "--opset 0"),
        ({"atol": -1.0, "check": True}, UsageError, "atol of -1.0"),
        ({"rtol": float("nan"), "check": True}, UsageError, "rtol of nan"),
        ({"dtype": "bf16", "provider": "cpu", "check": True}, ProviderError, "bf16"),
    ],
)
def test_bad_wishes_are_refused_before_any_work(workshop, linked, wishes, error, complaint):
    before, seen = listing(linked), []
    with pytest.raises(error, match=complaint):
        workshop.export(linked / "u.onnx", linked, on_progress=seen.append, **wishes)
    assert {event.stage for event in seen} <= {"source"}
    assert listing(linked) == before


def test_cuda_that_cannot_be_used_is_no_fallback(workshop, linked, monkeypatch):
    monkeypatch.setattr(providers, "cuda_problem", lambda: "no driver")
    seen = []
    with pytest.raises(ProviderError, match="cannot use CUDA: no driver"):
        workshop.export(
            linked / "u.onnx", linked, on_progress=seen.append, provider="cuda", check=True
        )
    assert seen == []


def test_someones_checkpoint_is_never_the_target(workshop, linked):
    before = listing(linked)
    with pytest.raises(TargetError, match="which is being exported"):
        workshop.export(
            (linked / "unet" / CHECKPOINT).with_suffix(".onnx"), linked, weights="copy"
        )
    assert listing(linked) == before


# Many at once


def test_many_checkpoints_share_a_trace(workshop, linked, tmp_path, monkeypatch):
    calls = []

    def counted(*arguments):
        calls.append(1)
        return workshop._build(*arguments)

    monkeypatch.setattr(exporter.pipeline, "build", counted)
    requests = [
        ExportRequest(linked / f"{name}.onnx", model=str(model), check=False)
        for name, model in (("a", linked), ("b", tmp_path / "absent"), ("c", linked / "unet"))
    ]
    first, second, third = export_all(requests)
    assert first.target.exists()
    assert third.target.exists()
    assert "no folder" in str(second)
    assert len(calls) == 1
