"""A recording read, drawn, condensed, and turned into files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load, save_file

from tests.viewer import recorded
from viewer.errors import RecordingError
from viewer.model.condense import condense, shrink
from viewer.model.recording import Quantity, Recording, read_recording, short
from viewer.replay import plots, tensorboard
from viewer.replay.cli import main
from viewer.replay.scales import Scale, fitted, scale_of


@pytest.fixture(scope="session")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorded.write(tmp_path_factory.mktemp("recorded") / "run.safetensors")


@pytest.fixture
def recording(file: Path) -> Recording:
    return read_recording(file)


class TestReading:
    def test_facts(self, recording):
        assert recording.title == "tiny, DDIMScheduler, 6 evaluations, guidance 7.5"
        assert recording.rows == ("uncond", "cond")
        assert recording.tokens(1)[3] == "cat"
        assert recording.steps == 6

    def test_shares_are_derived(self, recording):
        found = recording.quantity("skip.share")
        raw = recorded.tensors()
        expected = raw["skip.skip"] / (raw["skip.skip"] + raw["skip.trunk"])
        np.testing.assert_allclose(found.values, expected, 1e-6)
        assert [place.label for place in found.places] == [f"skip {i}" for i in range(4)]

    def test_one_step_of_a_tensor(self, recording):
        whole = recording.read("attention.map.1")
        np.testing.assert_array_equal(recording.step("attention.map.1", 4), whole[4])

    def test_unknown_quantity(self, recording):
        with pytest.raises(RecordingError, match="no colour; expected one of"):
            recording.quantity("colour")

    def test_other_files_are_refused(self, tmp_path):
        with pytest.raises(RecordingError, match="cannot be read as safetensors"):
            read_recording(tmp_path / "absent.safetensors")
        save_file({"x": np.zeros(1)}, tmp_path / "weights.safetensors")
        with pytest.raises(RecordingError, match="is not a recording"):
            read_recording(tmp_path / "weights.safetensors")
        with pytest.raises(RecordingError, match="format 1"):
            read_recording(recorded.write(tmp_path / "new.safetensors", format="2"))

    @pytest.mark.parametrize(
        ("module", "label"),
        [
            ("down_blocks.0.resnets.1", "down 0 res 1"),
            ("up_blocks.3.attentions.2.transformer_blocks.0.attn2", "up 3 attn 2.0 attn2"),
            ("mid_block.attentions.0", "mid attn 0"),
            ("down_blocks.1.downsamplers.0", "down 1 down"),
        ],
    )
    def test_labels(self, module, label):
        assert short(module) == label


class TestScales:
    def test_log_signed_and_missing(self):
        values = np.array([0.01, 1.0, 100.0, np.nan])
        placed = fitted(values, "log").place(values)
        np.testing.assert_allclose(placed, [0, 0.5, 1, np.nan])
        assert fitted(np.array([-1.0, 4.0]), "signed") == Scale("signed", -4.0, 4.0)
        assert fitted(values).colours(values)[3].tolist() == [128, 128, 128]

    def test_nothing_finite(self):
        empty = Quantity("block.rms", "", (), np.full((1, 1, 1), np.nan))
        assert scale_of(empty).colours(empty.values).shape == (1, 1, 1, 3)


class TestFigures:
    def test_every_figure(self, recording):
        made = dict(plots.figures(recording, 2))
        assert {"block-rms", "residual-share", "film", "time-embedding"} <= set(made)
        assert {"attention-cond", "attention-uncond"} <= set(made)

    def test_a_quantity_shows_its_numbers(self, recording):
        quantity = recording.quantity("skip.share")
        figure = np.asarray(plots.quantity_figure(recording, quantity))
        colours = scale_of(quantity).colours(quantity.values)
        for colour in colours.reshape(-1, 3):
            assert (figure == colour).all(-1).sum() >= 100

    def test_tokens_up_to_the_end_of_the_prompt(self, recording):
        assert plots.shown_tokens(recording, 1) == recorded.WORDS[:5]

    def test_frames_come_from_latents(self, recording):
        frame = plots.frame(recording, 0)
        assert frame.shape == (8, 8, 3)
        assert frame.min() == 0
        assert frame.max() == 255


class TestCondensing:
    def test_it_is_a_recording(self, recording, tmp_path):
        small = tmp_path / "small.safetensors"
        small.write_bytes(condense(recording))
        again = read_recording(small)
        assert again.metadata["condensed"]["map_tokens"] == 5
        assert again.shapes["attention.map.0"] == (6, 2, 5, 8, 8)
        assert "out_sample" not in again.shapes
        for one, other in zip(recording.quantities, again.quantities, strict=True):
            np.testing.assert_array_equal(one.values, other.values)

    def test_a_budget_thins_the_steps(self, recording):
        found = load(condense(recording, budget=4000))
        assert found["attention.map.0"].shape[0] == 2
        whole = recording.read("attention.map.0")
        np.testing.assert_array_equal(found["attention.map.0"][1], whole[3, :, :5])

    def test_shrinking_keeps_the_mean(self):
        image = np.arange(60.0).reshape(1, 6, 10)
        small = shrink(image, 5)
        assert small.shape == (1, 3, 5)
        assert small.mean() == image.mean()
        assert shrink(np.ones((7, 7)), 4).shape == (4, 4)


def test_tensorboard_reads_scalars_and_images(recording, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    written = tensorboard.write(recording, tmp_path)
    events = EventAccumulator(str(written.parent), {"images": 0}).Reload()
    tag = "block.rms/down_blocks.0/cond"
    values = [event.value for event in events.Scalars(tag)]
    expected = recording.quantity("block.rms").values[:, 1, 2]
    np.testing.assert_allclose(values, expected, 1e-6)
    assert set(events.Tags()["images"]) == {"image", "attention/cond", "attention/uncond"}
    assert [event.step for event in events.Images("image")] == list(range(6))


class TestCommandLine:
    def test_files(self, file, tmp_path, capsys):
        places = ["--html", str(tmp_path / "run.html"), "--png", str(tmp_path / "figures")]
        assert main([str(file), *places, "--step", "6"]) == 0
        page = (tmp_path / "run.html").read_text()
        assert "default-src 'none'" in page
        with Image.open(tmp_path / "figures" / "film.png") as film:
            assert film.width >= 640
        assert "no map" in capsys.readouterr().out

    def test_names_in_a_recording_are_never_markup(self, tmp_path):
        evil = "</script><img src=x onerror=alert(1)>"
        prompt = {"note": evil, "tokens": [[evil] * 7] * 2}
        file = recorded.write(tmp_path / "evil.safetensors", prompt=prompt)
        assert main([str(file), "--html", str(tmp_path / "evil.html")]) == 0
        assert "<img" not in (tmp_path / "evil.html").read_text()

    def test_errors_are_one_line(self, file, tmp_path, capsys):
        assert main([str(file), "--png", str(tmp_path), "--step", "7"]) == 2
        assert main([str(tmp_path / "absent.safetensors")]) == 2
        printed = capsys.readouterr().err
        assert "error: --step 7; expected 1 to 6" in printed
        assert printed.count("\n") == 2


def test_metadata_without_lists_is_survived(tmp_path):
    file = recorded.write(tmp_path / "bare.safetensors", prompt=None, run=None, model=3)
    found = read_recording(file)
    assert found.note == ""
    assert found.rows == ("cond",)
    assert json.dumps(found.title)
