"""The scenes of `shapes`, their words and masks, and the rule that judges an image."""

from __future__ import annotations

import json
from dataclasses import replace
from random import Random
from types import SimpleNamespace
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from torch.nn.functional import avg_pool2d

from shapes_tools.attention import watch
from shapes_tools.autoencoder import images, whiten
from shapes_tools.captions import teach_captions
from shapes_tools.data import Pool
from shapes_tools.reconstruction import reconstruct
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
from shapes_tools.text import (
    LENGTH,
    encode,
    make_text_encoder,
    make_tokenizer,
    things_of_tokens,
)
from shapes_tools.train import RECIPE
from tests.conftest import MakeUNet

CIRCLE = Thing("red", "circle", "big", False, 12, 24, 9)
SQUARE = Thing("blue", "square", "small", True, 36, 22, 6)
PAIR = Scene((CIRCLE, SQUARE), "left of", "white")


def _recipe() -> dict[str, Any]:
    recipe: dict[str, Any] = json.loads(RECIPE.read_text())
    return recipe


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


def test_white_latents_decode_to_the_same():
    torch.manual_seed(0)
    vae = (
        diffusers.AutoencoderKL(**_recipe()["autoencoder"]["config"])
        .eval()
        .requires_grad_(False)
    )
    batch = images(Random(0), 16)

    def passed() -> tuple[torch.Tensor, torch.Tensor]:
        latents = vae.encode(batch).latent_dist.mode()
        return latents, vae.decode(latents).sample

    before, decoded = passed()
    assert torch.cov(before.transpose(0, 1).flatten(1)).sub(torch.eye(4)).abs().max() > 0.1
    whiten(vae, batch)
    after, decoded_after = passed()
    places = after.transpose(0, 1).flatten(1)
    torch.testing.assert_close(torch.cov(places), torch.eye(4), rtol=0, atol=1e-3)
    torch.testing.assert_close(places.mean(1), torch.zeros(4), rtol=0, atol=1e-3)
    torch.testing.assert_close(decoded_after, decoded, rtol=0, atol=1e-4)


def test_a_perfect_autoencoder_loses_nothing_and_a_grey_one_everything():
    """What is told of an autoencoder, of two that need no training."""
    scenes_ = scenes(5, 8, held_out=True)

    def coder(decode: Any) -> Any:
        latent = SimpleNamespace(mode=lambda: None)
        seen: list[torch.Tensor] = []

        def encode_(batch: torch.Tensor) -> Any:
            seen.append(batch)
            return SimpleNamespace(latent_dist=latent)

        return SimpleNamespace(
            encode=encode_, decode=lambda _: SimpleNamespace(sample=decode(seen[-1]))
        )

    same = reconstruct(coder(lambda batch: batch), scenes_)
    assert (same.things, same.elsewhere, same.right) == (0, 0, 1)
    grey = reconstruct(coder(torch.zeros_like), scenes_)
    assert grey.things > 50
    assert grey.right == 0
    assert str(grey).endswith("right 0.0%")


def test_captions_learn_where_things_will_be():
    """Of scenes that are either one way round or the other, the end tokens tell which."""
    things = (replace(CIRCLE, x=36), replace(SQUARE, x=12))
    turned = replace(PAIR, relation="right of", things=things)
    tokenizer, both = make_tokenizer(), [PAIR, turned]
    pixels = torch.from_numpy(np.stack([draw(scene) for scene in both]))
    latents = avg_pool2d(pixels.permute(0, 3, 1, 2).float() / 127.5 - 1, 4)
    ids = encode(tokenizer, [scene.caption for scene in both])
    told_of = torch.tensor([things_of_tokens(scene) for scene in both])
    pool = Pool(latents, ids, told_of, torch.zeros(2, 2, 12, 12))
    torch.manual_seed(0)
    text = make_text_encoder(
        json.loads(RECIPE.read_text())["denoiser"]["text_encoder"], tokenizer
    )
    told: list[float] = []
    lesson = {"steps": 60, "batch": 16, "learning_rate": 0.01}
    teach_captions(
        text, pool, tokenizer.eos_token_id, lesson, 0, lambda _, part: told.append(part)
    )
    assert told[-1] < 0.1 * told[0]
