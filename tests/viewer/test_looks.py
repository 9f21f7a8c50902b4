"""Where a pixel looks, read from a recording with self-attention."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from tests.viewer import recorded
from viewer import cli as viewer
from viewer.model.condense import condense
from viewer.model.recording import Recording, read_recording
from viewer.replay.cli import main
from viewer.replay.looks import Pixel, looks, together
from viewer.replay.words import enlarged

LAYERS = ("down_blocks.0", "mid_block")


@pytest.fixture
def recording(tmp_path) -> Recording:
    """Of 8x8 latents; self-attention at 8x8 and at 4x4."""
    tensors, told = recorded.tensors(), recorded.metadata()
    random = np.random.default_rng(2)
    for index, side in enumerate((8, 4)):
        maps = random.random((6, 2, side * side, side, side), np.float32)
        maps /= maps.sum((-2, -1), keepdims=True)
        tensors[f"attention.self.{index}"] = maps
    name = "{}.attentions.0.transformer_blocks.0.attn1"
    told["selves"] = [
        {"module": name.format(layer), "level": level} for level, layer in enumerate(LAYERS)
    ]
    texts = {f"atlas.recording.{key}": json.dumps(value) for key, value in told.items()}
    save_file(tensors, tmp_path / "run.safetensors", texts)
    return read_recording(tmp_path / "run.safetensors")


def test_a_pixel_is_its_place_in_every_layer(recording):
    large, small = (recording.read(f"attention.self.{i}")[:, 1] for i in (0, 1))
    for step, (first, second) in enumerate(looks(recording, Pixel(3, 6), 1)):
        assert (first == large[step, 3 * 8 + 6]).all()
        assert (second == small[step, 1 * 4 + 3]).all()
        assert not (first == large[step, 6 * 8 + 3]).all()  # not the other way round
        mean = (first + enlarged(second, (8, 8))) / 2
        np.testing.assert_allclose(together([first, second]), mean, atol=1e-6)


def test_numbers_and_a_figure(recording, tmp_path, capsys):
    file, folder = tmp_path / "looks.npz", tmp_path / "plots"
    line = [str(recording.path), "--pixel", "3,6", "--looks", str(file), "--png", str(folder)]
    assert main(line) == 0
    with np.load(file) as found:
        assert set(found) == {"maps", "timestep", "layer.1", "layer.2"}
        assert found["maps"].shape == (6, 8, 8)
        assert found["layer.2"].shape == (6, 4, 4)
    with Image.open(folder / "pixel.png") as image:
        assert image.width > 400
    assert [one.name for one in folder.iterdir()] == ["pixel.png"]


def test_a_page_leaves_it_out(recording):
    assert b"attention.self" not in condense(recording)


def _left(line):
    """The exit code, whether the parser or the command refuses."""
    try:
        return main(line)
    except SystemExit as left:
        return left.code


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--pixel", "8,0", "--looks", "x.npz"], "--pixel 8,0; expected 0 to 7 and 0 to 7"),
        (["--pixel", "1,1"], "--pixel alone; expected --png or --looks"),
        (["--looks", "x.npz"], "--looks without --pixel"),
        (["--pixel", "a", "--looks", "x.npz"], "expected Y,X"),
    ],
)
def test_what_is_refused(recording, more, message, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    assert _left([str(recording.path), *more]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "x.npz").exists()


def test_a_recording_without_it(tmp_path, capsys):
    path = recorded.write(tmp_path / "run.safetensors")
    assert main([str(path), "--pixel", "1,1", "--looks", str(tmp_path / "l.npz")]) == 2
    assert (
        "no self-attention; expected one of exporter.sample --self" in capsys.readouterr().err
    )


def test_a_recording_of_another_model_is_refused(tmp_path, tiny, capsys):
    told = {**recorded.metadata()["model"], "name": "shapes"}
    path = recorded.write(tmp_path / "run.safetensors", model=told)
    page = str(tmp_path / "u.html")
    for command, line in (
        (viewer.main, [str(tiny), "--recording", str(path)]),
        (main, [str(path), "--model", str(tiny)]),
    ):
        assert command([*line, "--html", page]) == 2
        told = capsys.readouterr().err
        assert "run.safetensors is a recording of shapes; expected one of tiny" in told
        recorded.write(path)
        assert command([*line, "--html", page]) == 0
        recorded.write(path, model={**recorded.metadata()["model"], "name": "shapes"})
