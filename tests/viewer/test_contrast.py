"""Two recordings compared: what was asked for, and what became of it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.viewer import recorded
from viewer.errors import RecordingError
from viewer.model.recording import Recording, read_recording
from viewer.replay import contrast_plots
from viewer.replay.cli import main
from viewer.replay.contrast import contrast

CUT = [{"kind": "skip", "place": "3", "factors": [0.0], "steps": [1, None], "modules": ["x"]}]


def write(folder, name, change=None, **metadata):
    """A recording like that of ``recorded``, changed."""
    tensors, told = recorded.tensors(), {**recorded.metadata(), **metadata}
    if change:
        change(tensors)
    texts = {f"atlas.recording.{key}": json.dumps(value) for key, value in told.items()}
    file = folder / f"{name}.safetensors"
    save_file(tensors, file, texts)
    return file


def cut(tensors):
    tensors["latents"][-1] *= 1.5
    tensors["out_sample"][3, 1] *= 0.8
    tensors["skip.skip"][:, :, 2] = 0
    maps = tensors["attention.map.1"]
    maps[2, 1] = maps[2, 1, ::-1]


@pytest.fixture
def pair(tmp_path) -> tuple[Recording, Recording]:
    files = write(tmp_path, "plain"), write(tmp_path, "cut", cut, experiments=CUT)
    return read_recording(files[0]), read_recording(files[1])


def test_a_recording_against_itself_differs_in_nothing(pair):
    found = contrast(pair[0], pair[0])
    assert not found.asked
    assert not found.image.any()
    assert not found.predicted.any()
    assert all(not change.values.any() for change in found.changes)
    assert all(not moved.any() for moved in found.maps.values())


def test_an_experiment_is_part_of_the_title(pair):
    assert pair[1].title == f"{pair[0].title}, with skip:3=0"


def test_each_difference_is_found_where_it_is(pair):
    found = contrast(*pair)
    assert dict(found.asked) == {"experiments": ([], CUT)}
    assert found.image[-1] == pytest.approx(0.5)
    assert not found.image[:-1].any()
    assert found.predicted.tolist() == pytest.approx([0, 0, 0, 0.2, 0, 0])
    skips = {c.quantity.name: c.values for c in found.changes}["skip.share"]
    assert (skips[:, 2] < 0).all()
    assert not np.delete(skips, 2, axis=1).any()
    first, second = found.maps.values()
    assert not first.any()
    assert np.flatnonzero(second).tolist() == [2]


def test_the_attention_that_moved_is_that_of_the_definition(pair):
    one, other = (r.read("attention.map.1")[2, 1].astype(np.float64) for r in pair)
    found = contrast(*pair)
    moved = np.abs(other - one).sum(0).mean() / 2
    assert list(found.maps.values())[1][2] == pytest.approx(moved, rel=1e-5)
    tokens = list(found.tokens.values())[1][2]
    np.testing.assert_allclose(tokens, (other - one).mean((1, 2)), atol=1e-5)


def test_other_steps_compare_the_finished_image_alone(tmp_path, pair):
    def shorter(tensors):
        for name, tensor in tensors.items():
            tensors[name] = tensor[2:].copy()

    run = {**recorded.metadata()["run"], "steps": 4, "seed": 1}
    other = read_recording(write(tmp_path, "short", shorter, run=run))
    found = contrast(pair[0], other)
    assert found.asked["seed"] == (0, 1)
    assert found.image.tolist() == [0]
    assert not found.changes
    assert not found.maps


def test_recordings_that_cannot_be_compared(tmp_path, pair):
    blocks = [{"module": "another"}]
    other = read_recording(write(tmp_path, "other", blocks=blocks))
    with pytest.raises(RecordingError, match="recording of another model: another"):
        contrast(pair[0], other)

    def larger(tensors):
        tensors["latents"] = np.zeros((7, 4, 16, 16), np.float32)

    with pytest.raises(RecordingError, match=r"latents of 4x16x16 .* expected 4x8x8"):
        contrast(pair[0], read_recording(write(tmp_path, "large", larger)))
    with pytest.raises(RecordingError, match="is a sweep"):
        contrast(pair[0], read_recording(write(tmp_path, "sweep", kind="sweep")))


def test_the_command_line(pair, tmp_path, capsys):
    plain, other = (str(recording.path) for recording in pair)
    told, plots = tmp_path / "found.json", tmp_path / "plots"
    line = [plain, "--against", other, "--json", str(told), "--png", str(plots)]
    assert main(line) == 0
    printed = capsys.readouterr()
    assert "experiments: none -> skip:3" in printed.out + printed.err
    found = json.loads(told.read_text())
    assert found["recordings"] == ["plain.safetensors", "cut.safetensors"]
    assert found["out_sample"][3] == pytest.approx(0.2)
    names = {file.name for file in plots.iterdir()}
    assert {"contrast-image.png", "contrast-curves.png", "contrast-attention.png"} <= names
    assert main(line) == 0  # its own files are replaced
    told.write_text("someone's")
    assert main(line) == 2


@pytest.mark.parametrize("more", [["--json", "x.json"], ["--against", "absent.safetensors"]])
def test_bad_command_lines_are_one_line(pair, tmp_path, capsys, monkeypatch, more):
    monkeypatch.chdir(tmp_path)
    assert main([str(pair[0].path), *more]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert told.count("\n") == 1


def test_figures_have_something_on_them(pair):
    for name, image in contrast_plots.figures(contrast(*pair)):
        assert np.asarray(image).std() > 5, name
