"""A whole tiny pipeline recorded: 20 steps with guidance, text, previews."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from exporter.call import call
from exporter.denoising.loop import denoise
from exporter.errors import SourceError, TargetError, UsageError
from exporter.parity.ask import loaded
from exporter.parity.precision import ComputeIn
from exporter.parity.subject import Subject
from exporter.sample.cli import main
from exporter.sample.instrument import instrument
from exporter.sample.model import read_model
from exporter.sample.plan import RecordRequest, make_plan
from exporter.sample.record import record
from exporter.sample.recording import Recording
from exporter.source import load_source
from exporter.targets import RECORDING
from tests.exporter.sample.probe import listening
from tests.exporter.sample.tinysd import STEPS, Read, read
from tests.floors import Floors
from viewer.model.recording import read_recording
from viewer.replay.words import Choice, word_maps, words


def test_everything_is_there(recorded: Read) -> None:
    t, points = recorded.tensors, recorded.metadata
    assert recorded.metadata["run"]["rows"] == ["uncond", "cond"]
    assert recorded.metadata["run"]["scheduler_class"] == "EulerDiscreteScheduler"
    assert t["latents"].shape == (STEPS + 1, 4, 16, 16)
    assert t["out_sample"].shape == (STEPS, 2, 4, 16, 16)
    assert t["preview"].shape == (STEPS, 64, 64, 3)
    assert t["block.std"].shape == (STEPS, 2, len(points["blocks"]))
    assert t["skip.trunk"].shape == (STEPS, 2, len(points["skips"]))
    assert t["temb"].shape == (STEPS, 2, 128)
    assert t["attention.map.0"].shape == (STEPS, 2, 10, 16, 16)
    assert t["attention.map.2"].shape == (STEPS, 2, 10, 4, 4)
    assert all(np.isfinite(tensor).all() for tensor in t.values())
    assert (np.diff(t["timestep"]) < 0).all()


def test_tokens_are_those_of_the_prompt(recorded: Read) -> None:
    prompt = recorded.metadata["prompt"]
    end = "<|endoftext|>"
    assert prompt["source"] == "text_encoder"
    assert prompt["text"] == ["", "a red cat"]
    assert prompt["tokens"][1][:6] == ["<|startoftext|>", "a", "red", "cat", end, end]
    assert prompt["tokens"][0][1] == end


def test_moments_agree_with_one_another(recorded: Read) -> None:
    mean, rms, std = (recorded.tensors[f"block.{name}"] for name in ("mean", "rms", "std"))
    np.testing.assert_allclose(std**2 + mean**2, rms**2, 1e-4)
    modules = [block["module"] for block in recorded.metadata["blocks"]]
    last = recorded.tensors["out_sample"]
    found = recorded.tensors["block.max"][..., modules.index("conv_out")]
    np.testing.assert_array_equal(found, last.max(axis=(2, 3, 4)))


@pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")  # diffusers' scheduler
def test_the_loop_is_diffusers_own(
    recorded: Read,
    request_: RecordRequest,
    whole_pipeline: Path,
    floors: Floors,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same latents as StableDiffusionPipeline makes from the same noise and prompt."""
    import diffusers

    pipeline = diffusers.StableDiffusionPipeline(
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
        **_parts(whole_pipeline),
    )
    pipeline.set_progress_bar_config(disable=True)

    def latents() -> Any:
        random = torch.Generator().manual_seed(request_.seed)
        return pipeline(
            request_.prompt,
            height=64,
            width=64,
            num_inference_steps=STEPS,
            guidance_scale=request_.guidance,
            generator=random,
            output_type="latent",
        ).images[0]

    theirs, forward = latents(), pipeline.unet.forward

    def exactly(*inputs: Any, **more: Any) -> Any:
        with ComputeIn(torch.float64):
            return (forward(*inputs, **more)[0].float(),)

    monkeypatch.setattr(pipeline.unet, "forward", exactly)
    floors.check(recorded.tensors["latents"][-1], theirs, latents())


def _parts(root: Path) -> dict[str, Any]:
    import diffusers
    import transformers

    return {
        "text_encoder": transformers.CLIPTextModel.from_pretrained(root / "text_encoder"),
        "tokenizer": transformers.CLIPTokenizer.from_pretrained(root / "tokenizer"),
        "unet": diffusers.UNet2DConditionModel.from_pretrained(
            root / "unet", low_cpu_mem_usage=False
        ),
        "vae": diffusers.AutoencoderKL.from_pretrained(root / "vae", low_cpu_mem_usage=False),
        "scheduler": diffusers.EulerDiscreteScheduler.from_pretrained(root / "scheduler"),
    }


def test_recorded_maps_are_those_of_pytorch(
    recorded: Read, request_: RecordRequest, whole_pipeline: Path, floors: Floors
) -> None:
    """The same loop over diffusers' UNet with hooks: every map of every step."""
    plan = make_plan(request_, read_model(request_.model))
    attentions = range(len(instrument(request_.model).points.attentions))
    ours = [
        recorded.tensors[f"attention.map.{i}"][s] for s in range(STEPS) for i in attentions
    ]
    with loaded(Subject(load_source(str(whole_pipeline)))) as unet:
        theirs = _maps(unet, plan, request_.model, nullcontext())
        truth = _maps(unet, plan, request_.model, ComputeIn(torch.float64))
    floors.check_each(*([m.ravel() for m in maps] for maps in (ours, theirs, truth)))
    _check_words(
        request_.target, theirs, [maps.shape[-2:] for maps in ours[: len(attentions)]]
    )


def _check_words(target: Path, theirs: list[Any], sizes: list[tuple[int, int]]) -> None:
    """The viewer's maps of words against PyTorch's, enlarged and added up by PyTorch."""
    recording = read_recording(target)
    said, count = words(recording, 1), len(sizes)
    for step, found in zip(range(3), word_maps(recording, said, 1, Choice()), strict=False):
        total = torch.zeros(1, len(recording.tokens(1)), *sizes[0])
        for maps, size in zip(theirs[step * count :], sizes, strict=False):
            each = torch.from_numpy(maps)[1:].unflatten(2, size)
            total += torch.nn.functional.interpolate(each, sizes[0], mode="bilinear") / count
        expected = np.stack([total[0, list(word.tokens)].sum(0) for word in said])
        assert np.abs(found - expected).max() < 1e-5


def _maps(unet: Any, plan: Any, model: Path, mode: AbstractContextManager[Any]) -> list[Any]:
    points, maps = instrument(model).points, []

    def predict(fed: Mapping[str, torch.Tensor]) -> torch.Tensor:
        with mode, listening(unet, points) as found:
            prediction = call(unet, fed).float()
        maps.extend(found["map", attention.module].numpy() for attention in points.attentions)
        return prediction

    for _ in denoise(plan.loop, predict):
        continue
    return maps


def test_half_precision_maps_are_rounded_ones(
    recorded: Read, request_: RecordRequest, tmp_path: Path
) -> None:
    target = tmp_path / "half.safetensors"
    record(replace(request_, target=target, maps="float16", vae=None, compare=False))
    half = read(target).tensors["attention.map.1"]
    np.testing.assert_array_equal(half, recorded.tensors["attention.map.1"].astype(np.float16))


def test_two_encoders(exported: Any, whole_xl_pipeline: Path, tmp_path: Path) -> None:
    target = tmp_path / "xl.safetensors"
    unet = exported(str(whole_xl_pipeline))
    record(
        RecordRequest(
            unet, target, steps=2, prompt="a hat", text_encoder=whole_xl_pipeline, maps="none"
        )
    )
    found = read(target)
    assert found.metadata["prompt"]["tokens"][1][1:3] == ["a", "hat"]
    assert not np.array_equal(found.tensors["temb"][0, 0], found.tensors["temb"][0, 1])
    assert not any(name.startswith("attention.map") for name in found.tensors)


def test_without_guidance_one_row(request_: RecordRequest, tmp_path: Path) -> None:
    target = tmp_path / "one.safetensors"
    wanted = replace(
        request_, target=target, guidance=1.0, steps=2, scheduler="heun", vae=None
    )
    record(replace(wanted, text_encoder=None, prompt="", compare=False))
    found = read(target)
    assert found.metadata["run"]["rows"] == ["cond"]
    assert found.metadata["prompt"]["source"] == "seeded"
    assert "SEEDED RANDOM" in found.metadata["prompt"]["note"]
    assert found.metadata["run"]["evaluations"] == 3  # Heun looks twice
    assert found.tensors["out_sample"].shape == (3, 1, 4, 16, 16)


def test_a_model_without_text(exported: Any, tmp_path: Path, save_unet: Any) -> None:
    folder = save_unet(
        tmp_path / "ddpm",
        "ddpm",
        block_out_channels=[8, 16],
        down_block_types=["DownBlock2D", "AttnDownBlock2D"],
        up_block_types=["AttnUpBlock2D", "UpBlock2D"],
        norm_num_groups=4,
        sample_size=8,
        attention_head_dim=8,
    )
    target = tmp_path / "ddpm.safetensors"
    record(RecordRequest(exported(str(folder)), target, steps=2))
    found = read(target)
    assert found.metadata["run"]["rows"] == ["cond"]
    assert found.metadata["attentions"] == []
    assert any(r["role"] == "self_attention" for r in found.metadata["residuals"])


class TestEmbeddings:
    def test_npy_with_both_rows(self, request_: RecordRequest, tmp_path: Path) -> None:
        rows = np.random.default_rng(0).standard_normal((2, 5, 48)).astype(np.float32)
        np.save(tmp_path / "text.npy", rows)
        wanted = replace(
            request_, text_encoder=None, prompt="", embeddings=tmp_path / "text.npy"
        )
        prompt = make_plan(wanted, read_model(request_.model)).prompt
        assert prompt.states is not None
        np.testing.assert_array_equal(prompt.states, rows)
        assert prompt.tokens[0] == ("#0", "#1", "#2", "#3", "#4")

    def test_one_row_gets_zeros(self, request_: RecordRequest, tmp_path: Path) -> None:
        np.save(tmp_path / "text.npy", np.ones((5, 48)))
        wanted = replace(
            request_, text_encoder=None, prompt="", embeddings=tmp_path / "text.npy"
        )
        prompt = make_plan(wanted, read_model(request_.model)).prompt
        assert prompt.states is not None
        assert not prompt.states[0].any()
        assert "zeros" in prompt.note

    def test_wrong_width(self, request_: RecordRequest, tmp_path: Path) -> None:
        np.save(tmp_path / "text.npy", np.ones((5, 47)))
        wanted = replace(
            request_, text_encoder=None, prompt="", embeddings=tmp_path / "text.npy"
        )
        with pytest.raises(UsageError, match="47 wide; expected 48"):
            make_plan(wanted, read_model(request_.model))

    def test_pickles_are_refused(self, request_: RecordRequest, tmp_path: Path) -> None:
        np.save(tmp_path / "evil.npy", np.array([{}], dtype=object), allow_pickle=True)
        wanted = replace(
            request_, text_encoder=None, prompt="", embeddings=tmp_path / "evil.npy"
        )
        with pytest.raises(UsageError, match="allow_pickle"):
            make_plan(wanted, read_model(request_.model))


def test_a_failure_leaves_nothing_and_the_old_file(
    request_: RecordRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "run.safetensors"
    target.write_text("before")

    def full(*_: Any) -> None:
        raise TargetError("no space left on device")

    monkeypatch.setattr(Recording, "put", full)
    with pytest.raises(TargetError):
        record(replace(request_, target=target, vae=None, compare=False))
    assert [file.name for file in tmp_path.iterdir()] == ["run.safetensors"]
    assert target.read_text() == "before"


def test_memory_does_not_grow_with_steps(tmp_path: Path) -> None:
    import tracemalloc

    def peak(steps: int) -> int:
        tensors = {"map": (torch.float32, (steps, 64, 64))}
        tracemalloc.start()
        with Recording(tmp_path / "long.safetensors", tensors, {}) as recording:
            for step in range(steps):
                recording.put("map", step, np.full((64, 64), step))
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    peak(1)
    short, long = peak(5), peak(500)
    assert long < short + 20_000
    assert (tmp_path / "long.safetensors").stat().st_size > 500 * 64 * 64 * 4


class TestRefusals:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"scheduler": "foo"}, "scheduler 'foo'; expected one of ddim"),
            ({"scheduler": "FlowMatchEulerDiscreteScheduler"}, "no scale_model_input"),
            ({"steps": 0}, "--steps 0"),
            ({"seed": -1}, "--seed -1"),
            ({"text_encoder": None}, "a prompt without --pipeline or --text-encoder"),
            ({"size": (4, 8)}, "latents of 4x8"),
            ({"embeddings": Path("x.npy")}, "--text-encoder and --embeddings together"),
            ({"model": Path("absent.onnx")}, "no file absent.onnx"),
        ],
    )
    def test_usage(self, request_: RecordRequest, change: Any, message: str) -> None:
        with pytest.raises(UsageError, match=re.escape(message)):
            record(replace(request_, **change))

    @pytest.mark.parametrize("part", ["text_encoder", "vae"])
    def test_empty_folders(self, request_: RecordRequest, part: str, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match=re.escape(str(tmp_path))):
            record(replace(request_, **{part: tmp_path}))  # type: ignore[arg-type]


class TestCommandLine:
    def test_a_run(self, folded: Path, tmp_path: Path, capsys: Any) -> None:
        target = tmp_path / "run.safetensors"
        arguments = ["--steps", "2", "--size", "8x12", "--compare", "--quiet"]
        assert main([str(folded), str(target), *arguments]) == 0
        printed = capsys.readouterr().out
        assert "2 evaluations of uncond + cond" in printed
        assert "SEEDED RANDOM" in printed
        assert "the same bit for bit" in printed
        assert read(target).tensors["latents"].shape == (3, 4, 8, 12)
        assert RECORDING.holds(target)  # so that it may be written again

    def test_errors_are_one_line(self, folded: Path, tmp_path: Path, capsys: Any) -> None:
        assert main([str(folded), str(tmp_path / "run.txt")]) == 2
        assert main([str(folded), str(tmp_path / "no" / "run.safetensors")]) == 2
        assert main([str(folded), str(folded.with_suffix(".safetensors"))]) == 2
        assert main([str(folded), "--size", "big"]) == 2
        printed = capsys.readouterr().err
        assert printed.count("error: ") == 4
        assert "Traceback" not in printed
