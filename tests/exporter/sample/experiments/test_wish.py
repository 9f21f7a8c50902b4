"""How experiments are written, and what is said of those that make no sense."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch

from exporter.errors import UsageError
from exporter.sample.experiments import wish as wishes
from exporter.sample.experiments.places import fits
from exporter.sample.experiments.plan import Ground, plan_experiment
from exporter.sample.experiments.wish import Steps, Wish
from exporter.sample.experiments.words import Text
from exporter.sample.points import Block, CrossAttention, Points, Residual, Skip
from exporter.sample.prompts import Prompt, Word

ATTN = "up_blocks.1.attentions.0.transformer_blocks.0.attn2"
RESNET = "up_blocks.1.resnets.0"
POINTS = Points(
    (
        Block("b", RESNET, "resnet", "up", 0, ()),
        Block("u", "up_blocks.1", "block", "up", 0, ()),
    ),
    (Residual("r", RESNET, "resnet", 1), Residual("a", ATTN, "cross_attention", 0)),
    (),
    (Skip("c", "0", "conv_in", "up_blocks.1", 1),),
    (CrossAttention("a", ATTN, "up", 0, 2),),
    None,
)
WORDS = (Word("<|startoftext|>", (0,)), Word("red", (1,)), Word("circle", (2, 3)))
GROUND = Ground(
    Prompt("text_encoder", "", torch.zeros(2, 4, 8), words=(WORDS, WORDS)),
    ("uncond", "cond"),
    5,
)


@pytest.mark.parametrize(
    ("read", "text", "wish"),
    [
        (wishes.without, "skip:3", Wish("skip", "3")),
        (wishes.without, "attn:mid_block@2-4", Wish("attn", "mid_block", (0.0,), Steps(2, 4))),
        (wishes.scaled, "time:mid_block=2@-3", Wish("time", "mid_block", (2.0,), Steps(1, 3))),
        (wishes.masked, "red@4-", Wish("word", "red", (0.0,), Steps(4, None))),
        (wishes.masked, "red/up#2@3", Wish("word", "red/up#2", steps=Steps(3, 3))),
        (wishes.swapped, "red,blue@2", Wish("swap", "red,blue", (), Steps(2, 2))),
        (wishes.freeu, "0.9,0.2,1.5,1.6", Wish("freeu", "", (0.9, 0.2, 1.5, 1.6))),
    ],
)  # fmt: skip
def test_every_form(read: Callable[[str], Wish], text: str, wish: Wish):
    assert read(text) == wish


def test_steps_count_from_one_and_include_both_ends():
    assert [index in Steps(2, 3) for index in range(4)] == [False, True, True, False]
    assert [index in Steps(3, None) for index in range(4)] == [False, False, True, True]


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        (wishes.without, "skpi:3", "skpi:3; expected one of skip, attn"),
        (wishes.without, "skip", "skip; expected KIND:PLACE"),
        (wishes.without, "skip:3@4-2", "@4-2 as steps"),
        (wishes.without, "skip:3@0", "@0 as steps"),
        (wishes.without, "skip:3@x", "@x as steps"),
        (wishes.scaled, "skip:3", "skip:3; expected KIND:PLACE=FACTOR"),
        (wishes.scaled, "skip:3=nan", "'nan' as factor"),
        (wishes.masked, "", "no word"),
        (wishes.swapped, "red", "red; expected two words"),
        (wishes.freeu, "1,2,3", "1,2,3; expected S1,S2,B1,B2"),
    ],
)
def test_forms_that_are_none(read: Callable[[str], Wish], text: str, message: str):
    with pytest.raises(UsageError, match=re.escape(message)):
        read(text)


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        (wishes.without("skip:3"), "skip:3: no such skip; expected 0 to 0"),
        (wishes.without("cross:up_blocks.1.atn2"), f"no such module; nearest: {ATTN}"),
        (wishes.without(f"attn:{RESNET}"), "a resnet; expected what attentions add to"),
        (wishes.without("resnet:down_blocks.0"), f"no such module; nearest: {RESNET}"),
        (wishes.without("head:up_blocks.1"), "expected head:MODULE#3"),
        (wishes.without("head:up_blocks.1#3"), f"of {ATTN}; expected 1 to 2"),
        (wishes.without(f"head:{RESNET}#1"), "a resnet; expected one head"),
        (wishes.without("self:all"), "expected a model in which there is"),
        (wishes.masked("rde"), "no word 'rde' in the prompt; nearest: red"),
        (wishes.masked("rde/up_blocks"), "no word 'rde' in the prompt; nearest: red"),
        (wishes.masked("red/up_blocks.7"), f"no such module; nearest: {ATTN}"),
        (wishes.masked(f"red/{RESNET}"), "a resnet; expected what cross-attentions alone add"),
        (wishes.masked("red/up_blocks#3"), f"of {ATTN}; expected 1 to 2"),
        (wishes.swapped("red,circle"), "1 and 2 tokens"),
        (wishes.without("guidance:con"), "expected uncond or cond; nearest: cond"),
        (wishes.without("skip:0@6"), "expected steps from 1 to 5"),
        (wishes.scaled("word:red=-1"), "a factor of 0 or more"),
        (wishes.freeu("1,1,1,1"), "a model of two up blocks"),
    ],
)  # fmt: skip
def test_what_is_not_there(wish: Wish, message: str):
    with pytest.raises(UsageError, match=re.escape(message)):
        plan_experiment([wish], GROUND, POINTS)


def test_no_guidance_no_text():
    alone = Ground(Prompt("none", ""), ("cond",), 5)
    with pytest.raises(UsageError, match="--guidance above 1"):
        plan_experiment([wishes.without("guidance:cond")], alone, POINTS)
    with pytest.raises(UsageError, match="one that reads a prompt"):
        plan_experiment([wishes.masked("red")], alone, POINTS)


@pytest.mark.parametrize(
    ("place", "fit"),
    [
        ("all", True),
        (ATTN, True),
        ("up_blocks.1", True),
        ("up_blocks", True),
        ("up_blocks.1.attentions.0.attn2", True),
        ("up_blocks.attn2", True),
        ("up_blocks.1.attn1", False),
        ("up_blocks.1.attentions.1", False),
        ("up_blocks.0", False),
        ("attn2", False),
        ("", False),
    ],
)
def test_places(place: str, fit: bool):
    assert fits(place, ATTN) == fit


def test_what_is_fed_at_a_step():
    asked = [wishes.scaled("skip:0=0.5@2-3"), wishes.masked("circle@2"), wishes.masked("red")]
    experiment = plan_experiment(asked, GROUND, POINTS)
    first, second = experiment.feeds(0), experiment.feeds(1)
    assert (first["experiment.0"].item(), second["experiment.0"].item()) == (1.0, 0.5)
    masked = [fed["experiment.words"][:, 0, 0].tolist() for fed in (first, second)]
    off = -10_000.0
    assert masked[0] == [[0, 0, 0, 0], [0, off, 0, 0]]
    assert masked[1] == [[0, 0, 0, 0], [0, off, off, off]]  # two tokens, one word
    assert not any(value.any() for value in [experiment.fed(())["experiment.words"]])


def test_a_word_in_a_place_alone_has_an_input_of_its_own():
    asked = map(wishes.masked, ("red", "circle/up_blocks.1", "red/up_blocks.1#2"))
    everywhere, there, head = plan_experiment([*asked], GROUND, POINTS).edits
    off = -10_000.0
    for edit, name, expected in (
        (everywhere, "experiment.words", [0, off, 0, 0]),
        (there, "experiment.words.1", [0, 0, off, off]),
        (head, "experiment.words.2", [0, off, 0, 0]),
    ):
        fed = edit.feeds(edit.wishes)
        assert fed[name][-1, 0, 0].tolist() == expected
        assert edit.modules() == [ATTN]


def test_a_word_with_a_slash_is_a_word():
    words = (Word("and/or", (1,)),)
    text = Text(1, 3, words)
    assert text.split("and/or") == ("and/or", "")
    assert text.split("and/or/up_blocks") == ("and/or", "up_blocks")
    assert text.split("/up_blocks") == ("/up_blocks", "")


def test_what_is_recorded():
    found = plan_experiment([wishes.without("skip:up_blocks.1@2-")], GROUND, POINTS)
    assert found.to_json() == [
        {
            "kind": "skip",
            "place": "up_blocks.1",
            "factors": [0.0],
            "steps": [2, None],
            "modules": ["up_blocks.1"],
        }
    ]
