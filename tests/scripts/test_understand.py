"""The script behind docs/UNDERSTANDING.md, with two cuts, and what its text quotes."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from exporter.sample.experiments import wish
from shapes_tools.scenes import draw
from understand_tools import make
from understand_tools.figures import over
from understand_tools.many import END, Gone, gone, words

DOCS = Path(__file__).parents[2] / "docs"


def test_cuts_are_sampled_drawn_and_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    cuts = {
        "few": (
            ("no mid block", (wish.without("block:mid_block"),)),
            ("no text", (wish.without("cross:all"),)),
        )
    }
    monkeypatch.setattr(make, "CUTS", cuts)
    going = {name: make.GOING[name] for name in ("its own words", "and what follows")}
    monkeypatch.setattr(make, "GOING", going)
    monkeypatch.setattr(make, "SHOWN", {"hidden": "and what follows"})
    told: list[str] = []
    found = make.understand(tmp_path, tmp_path, 10, 4, told.append)
    names = [line.partition(":")[0] for line in told]
    assert names == ["plain", "block", "cross", *going, "hidden"]
    assert found["plain"] == "red circle, blue square, left of"
    nothing, everything = found["cut"].values()
    assert nothing["seen"] == found["plain"]
    assert max(nothing["changed"].values()) < 5 < min(everything["changed"].values())
    assert everything["seen"] == "no red circle, no blue square, not left of"
    kept, hidden = found["going"]["cuts"].values()
    assert kept["thing"] < 0.5 < hidden["thing"]  # a word alone does nothing
    assert hidden["other"] > 0.5
    for name in ("steps", "maps", "few", "gone"):
        with Image.open(tmp_path / f"understanding-{name}.png") as image:
            assert image.width > image.height > 100
    assert not (tmp_path / "run.safetensors").exists()


def test_a_map_lets_colours_through_where_it_is_high():
    image = np.full((48, 48, 3), (220, 40, 40), np.uint8)
    shown = over(image, np.array([[1.0, 0.0], [0.0, 0.0]]))
    assert tuple(shown[0, 0]) == (220, 40, 40)
    assert len(set(shown[-1, -1])) == 1


def test_what_is_gone_is_told_from_what_is_drawn():
    """One thing left, one of another shape, another colour, and both."""
    scene = make.TURNED
    square, circle = scene.things
    left = [
        replace(scene, things=things)
        for things in (
            (square,),
            (square, replace(circle, shape="triangle")),
            (square, replace(circle, colour="green")),
            (square, circle),
            (circle,),
        )
    ]
    images = np.stack([draw(one) for one in left])
    found = gone([scene] * len(images), images, 1)
    assert found == Gone(thing=0.6, colour=0.4, alone=0.2, other=0.8, background=1.0)


def test_words_to_hide_are_the_second_things_and_later():
    hidden = [str(wish) for wish in words("up_blocks.1#1", "3-")(make.TURNED)]
    told = ("red", "circle", "on", "white", END)
    assert hidden == [f"word:{word}/up_blocks.1#1=0@3-" for word in told]
    first = {wish.place for wish in words(first=True)(make.TURNED)}
    assert first == {"a", "blue", "square", "right", "of", "on", "white", END}


def test_the_page_quotes_what_was_measured():
    text = (DOCS / "UNDERSTANDING.md").read_text()
    found = json.loads((DOCS / "images" / "understanding.json").read_text())
    cut, going = found["cut"], found["going"]
    assert set(going["cuts"]) == set(make.GOING)
    assert set(make.SHOWN.values()) < set(make.GOING)
    assert f"Over {going['captions']} captions" in text
    for name, share in (
        ("and what follows, in one head", "thing"),
        ("and what follows", "colour"),
        ("of the first thing", "thing"),
    ):
        assert f"{going['cuts'][name][share]:.0%}".replace("%", " %") in text
    for figure in make.CUTS:
        assert f"images/understanding-{figure}.png" in text
    asked = {" ".join(map(str, wishes)) for cuts in make.CUTS.values() for _, wishes in cuts}
    assert set(cut) == asked
    assert cut["word:red=0"]["seen"] == "red circle, blue square, left of"
    turned = cut["cross:up_blocks.1.attentions.0=0"]["seen"]
    assert turned == "red circle, blue square, not left of"
    (mid,) = re.findall(r"pixels change by ([\d.]+) of 255", text)
    assert max(cut["cross:mid_block.attentions.0=0"]["changed"].values()) <= float(mid) + 0.2
