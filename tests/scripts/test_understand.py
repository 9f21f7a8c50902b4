"""The script behind docs/UNDERSTANDING.md, with two cuts, and what its text quotes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from exporter.sample.experiments import wish
from understand_tools import make
from understand_tools.figures import over

DOCS = Path(__file__).parents[2] / "docs"


def test_cuts_are_sampled_drawn_and_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    cuts = {
        "few": (
            ("no mid block", (wish.without("block:mid_block"),)),
            ("no text", (wish.without("cross:all"),)),
        )
    }
    monkeypatch.setattr(make, "CUTS", cuts)
    told: list[str] = []
    found = make.understand(tmp_path, tmp_path, 10, told.append)
    assert [line.partition(":")[0] for line in told] == ["plain", "block", "cross"]
    assert found["plain"] == "red circle, blue square, left of"
    nothing, everything = found["cut"].values()
    assert nothing["seen"] == found["plain"]
    assert max(nothing["changed"].values()) < 5 < min(everything["changed"].values())
    assert everything["seen"] == "no red circle, no blue square, not left of"
    for name in ("steps", "maps", "few"):
        with Image.open(tmp_path / f"understanding-{name}.png") as image:
            assert image.width > image.height > 100
    assert not (tmp_path / "run.safetensors").exists()


def test_a_map_lets_colours_through_where_it_is_high():
    image = np.full((48, 48, 3), (220, 40, 40), np.uint8)
    shown = over(image, np.array([[1.0, 0.0], [0.0, 0.0]]))
    assert tuple(shown[0, 0]) == (220, 40, 40)
    assert len(set(shown[-1, -1])) == 1


def test_the_page_quotes_what_was_measured():
    text = (DOCS / "UNDERSTANDING.md").read_text()
    cut = json.loads((DOCS / "images" / "understanding.json").read_text())["cut"]
    for figure in make.CUTS:
        assert f"images/understanding-{figure}.png" in text
    asked = {" ".join(map(str, wishes)) for cuts in make.CUTS.values() for _, wishes in cuts}
    assert set(cut) == asked
    assert cut["word:red=0"]["seen"] == "red circle, blue square, left of"
    turned = cut["cross:up_blocks.1.attentions.0=0"]["seen"]
    assert turned == "red circle, blue square, not left of"
    (mid,) = re.findall(r"pixels change by ([\d.]+) of 255", text)
    assert max(cut["cross:mid_block.attentions.0=0"]["changed"].values()) <= float(mid) + 0.2
