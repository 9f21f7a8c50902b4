"""Maps of words: tokens, layers and heads put together."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.viewer import recorded
from viewer.errors import RecordingError
from viewer.model.recording import Recording, read_recording
from viewer.replay.cli import main
from viewer.replay.words import Choice, Word, enlarged, word_maps, words

RED_CAT = [["<|startoftext|>", [0]], ["a", [1]], ["red cat", [2, 3]]]


@pytest.fixture
def recording(tmp_path) -> Recording:
    """Of two layers, 8x8 and 4x4, the second with heads; a word of two tokens."""
    tensors, told = recorded.tensors(), recorded.metadata()
    for index in (0, 1):
        maps = tensors[f"attention.map.{index}"].astype(np.float32)
        tensors[f"attention.map.{index}"] = maps / maps.sum(2, keepdims=True)
    heads = np.random.default_rng(1).random((6, 2, 3, 7, 4, 4), np.float32)
    tensors["attention.heads.1"] = heads / heads.sum(3, keepdims=True)
    told["prompt"] = {**told["prompt"], "words": [[], RED_CAT]}
    texts = {f"atlas.recording.{key}": json.dumps(value) for key, value in told.items()}
    save_file(tensors, tmp_path / "run.safetensors", texts)
    return read_recording(tmp_path / "run.safetensors")


def test_words_are_the_recorded_ones_else_the_tokens(recording):
    assert words(recording, 1)[2] == Word("red cat", (2, 3))
    assert [word.text for word in words(recording, 0)] == list(recording.tokens(0))


def test_tokens_and_layers_are_put_together(recording):
    said = words(recording, 1)
    found = np.stack(list(word_maps(recording, said, 1, Choice())))
    large, small = (recording.read(f"attention.map.{i}")[:, 1, 2:4].sum(1) for i in (0, 1))
    assert found.shape == (6, 3, 8, 8)
    expected = (large + enlarged(small, (8, 8))) / 2
    np.testing.assert_allclose(found[:, 2], expected, atol=1e-6)


def test_enlarging_keeps_what_is_even_and_the_edges():
    assert (enlarged(np.ones((1, 3, 5)), (7, 9)) == 1).all()
    ramp = enlarged(np.arange(4.0).reshape(1, 4), (1, 8))[0]
    assert ramp.tolist() == [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]


def test_without_special_tokens_the_rest_sums_to_one(recording):
    row = [Word(token, (at,)) for at, token in enumerate(recording.tokens(1))]
    (first, *_) = word_maps(recording, row, 1, Choice((0,), special=False))
    special = [word.text.startswith("<|") for word in row]
    assert any(special)
    assert not first[special].any()
    np.testing.assert_allclose(first.sum(0), 1, rtol=1e-5)


def test_one_head(recording):
    (first, *_) = word_maps(recording, words(recording, 1), 1, Choice((1,), head=2))
    expected = recording.read("attention.heads.1")[0, 1, 2]
    np.testing.assert_allclose(first[1], expected[1], atol=1e-6)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (Choice((5,)), "layer 6; expected one of 1, 2"),
        (Choice(head=3), "head 4 of layer 2; expected 1 to 3"),
        (Choice((0,), head=0), "layer 1; expected one of 2"),
    ],
)
def test_what_is_not_there(recording, choice, message):
    with pytest.raises(RecordingError, match=message):
        list(word_maps(recording, words(recording, 1), 1, choice))


def test_the_command_line(recording, tmp_path):
    target = tmp_path / "words.npz"
    line = [str(recording.path), "--words", str(target), "--layer", "2", "--no-special"]
    assert main(line) == 0
    with np.load(target) as found:
        assert found["words"].tolist() == ["<|startoftext|>", "a", "red cat"]
        assert found["maps"].shape == (6, 3, 4, 4)
        assert len(found["timestep"]) == 6
    assert main([*line, "--layer", "9"]) == 2
