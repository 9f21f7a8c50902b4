"""The scenes of `shapes`, their words and masks, and the rule that judges an image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from shapes_tools.attention import watch
from shapes_tools.rule import judge
from shapes_tools.scenes import (
    BACKGROUNDS,
    COLOURS,
    WORDS,
    Scene,
    Thing,
    draw,
    masks,
    scenes,
)
from shapes_tools.text import LENGTH, encode, make_tokenizer, things_of_tokens
from tests.conftest import MakeUNet

CIRCLE = Thing("red", "circle", "big", False, 12, 24, 9)
SQUARE = Thing("blue", "square", "small", True, 36, 22, 6)
PAIR = Scene((CIRCLE, SQUARE), "left of", "white")


def test_a_caption_tells_its_scene():
    assert PAIR.caption == "a red circle left of a small blue square on white"
    assert [t for _, t in PAIR.words] == [None, 0, 0, None, None, None, 1, 1, 1, None, None]


def test_masks_are_the_pixels_of_their_things():
    image, (circle, square) = draw(PAIR), masks(PAIR)
    assert (np.abs(image[circle].astype(int) - COLOURS["red"]) < 110).all()
    assert (np.abs(image[square].astype(int) - COLOURS["blue"]) < 110).all()
    assert not (circle & square).any()
    assert (image[~(circle | square)].astype(int).min(-1) > 100).all()  # white, or an edge


def test_every_word_is_one_token():
    tokenizer = make_tokenizer()
    assert {len(tokenizer(word).input_ids) for word in WORDS} == {3}  # start, word, end
    found = things_of_tokens(PAIR)
    words = [tokenizer.decode(i) for i in encode(tokenizer, [PAIR.caption])[0]]
    assert len(words) == len(found) == LENGTH
    assert [word.strip() for word, thing in zip(words, found, strict=True) if thing == 1] == [
        "small",
        "blue",
        "square",
    ]


def test_held_out_combinations_are_never_in_training():
    def kinds(some: list[Scene]) -> set[object]:
        things = ([(t.colour, t.shape) for t in s.things] for s in some)
        return {(str(t), s.relation, s.background) for t, s in zip(things, some, strict=True)}

    assert not kinds(scenes(0, 500, held_out=False)) & kinds(scenes(1, 500, held_out=True))


def test_the_rule_finds_what_was_drawn():
    for scene in scenes(3, 100, held_out=True):
        verdict = judge(scene, draw(scene))
        assert verdict.right, scene.caption
        for found, mask in zip(verdict.things, masks(scene), strict=True):
            assert found is not None
            assert (found.mask & mask).sum() > 0.7 * (
                found.mask | mask
            ).sum()  # edges are blends


@pytest.mark.parametrize(
    ("shown", "wrong"),
    [
        (replace(PAIR, background="gray"), "background"),
        (replace(PAIR, things=(replace(CIRCLE, colour="green"), SQUARE)), "colours"),
        (replace(PAIR, things=(replace(CIRCLE, shape="square"), SQUARE)), "shapes"),
        (replace(PAIR, things=(CIRCLE,)), "shapes"),
        (replace(PAIR, things=(replace(CIRCLE, x=36), replace(SQUARE, x=12))), "relation"),
    ],
)
def test_the_rule_sees_what_is_wrong(shown: Scene, wrong: str):
    verdict = judge(PAIR, draw(shown))
    assert not getattr(verdict, wrong)
    assert not verdict.right


def test_colours_are_told_apart_from_backgrounds():
    palette = np.array([*COLOURS.values(), *BACKGROUNDS.values()], float)
    apart = np.linalg.norm(palette[:, None] - palette[None], axis=-1)
    assert apart[~np.eye(len(palette), dtype=bool)].min() > 100


def test_watched_attention_changes_nothing(make_unet: MakeUNet):
    unet = make_unet()
    width = unet.config["cross_attention_dim"]
    inputs = (torch.randn(2, 4, 8, 8), torch.tensor(7), torch.randn(2, 5, width))
    before = unet(*inputs).sample
    watched = watch(unet)
    after = unet(*inputs).sample
    torch.testing.assert_close(after, before)
    sums = {float(w.probabilities.sum(-1).sub(1).abs().max()) for w in watched.values()}
    assert watched
    assert max(sums) < 1e-5
