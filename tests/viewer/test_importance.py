"""Tables of importance as the viewer reads them, and the map that they tint."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import expect

from viewer.cli import main
from viewer.errors import ReportError
from viewer.model import importance_report
from viewer.serve import netron
from viewer.serve.server import Server
from viewer.serve.shown import Shown

PARTS = [
    {"kind": "skip", "place": "0", "image": 0.75, "prediction": [1.0]},
    {"kind": "block", "place": "mid_block", "image": 0.1},
    {"kind": "block", "place": "up_blocks.0", "image": 0.4},
]
GOOD = {"kind": "importance", "prompts": ["a", "b"], "steps": 10, "parts": PARTS}
MODULES = ("mid_block", "up_blocks.0", "conv_in")


def test_a_table_is_read(tmp_path):
    path = tmp_path / "table.json"
    path.write_text(json.dumps(GOOD))
    assert importance_report.read(path, MODULES) == {
        "prompts": 2,
        "steps": 10,
        "modules": {"mid_block": 0.1, "up_blocks.0": 0.4},
        "skips": {"0": 0.75},
    }


@pytest.mark.parametrize(
    "broken",
    [
        {"kind": "sampling"},
        {"parts": []},
        {"parts": None},
        {"parts": [3]},
        {"parts": [{"kind": "block", "place": 3, "image": 1}]},
        {"parts": [{"kind": "block", "place": "mid_block", "image": -1}]},
        {"parts": [{"kind": "block", "place": "mid_block", "image": True}]},
    ],
)
def test_what_is_no_table_is_refused(tmp_path, broken, tiny, capsys):
    path = tmp_path / "t.json"
    path.write_text(json.dumps({**GOOD, **broken}))
    with pytest.raises(ReportError, match="is no table of importance"):
        importance_report.read(path, MODULES)


def test_a_table_of_another_model_is_refused(tmp_path, tiny, capsys):
    path = tmp_path / "t.json"
    strange = {"kind": "cross", "place": "up_blocks.9.attentions.0", "image": 1.0}
    path.write_text(json.dumps({**GOOD, "parts": [*PARTS, strange]}))
    page = str(tmp_path / "u.html")
    assert main([str(tiny), "--importance", str(path), "--html", page]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "is of another model, which has up_blocks.9.attentions.0" in told


@pytest.fixture
def tinted(eyes, atlas):
    """``tinted(table)``: the map with it; the table is as the viewer has read it."""
    servers = []

    def show(table):
        servers.append(Server(Shown((atlas,), importance=table), netron.find()))
        servers[-1].start()
        return eyes.open(servers[-1].url, wait="map")

    yield show
    for server in servers:
        server.close()


def _severities(page):
    """How hot each block is, by the node that it stands for."""
    pair = "one => [one.dataset.node, one.style.getPropertyValue('--severity')]"
    blocks = page.locator(".map .block[data-heat]")
    return blocks.evaluate_all(f"all => Object.fromEntries(all.map({pair}))")


def test_it_tints_the_map_and_speaks_in_tooltips(tinted, atlas):
    table = {"modules": {"mid_block": 0.1, "up_blocks.0": 0.4}, "skips": {"0": 0.75}}
    page = tinted(table)
    found = sorted(float(severity) for severity in _severities(page).values())
    assert found == [0.25, 1.0]
    page.locator(".map .block[data-heat]").first.hover(position={"x": 6, "y": 6})
    expect(page.locator(".tip")).to_contain_text("without it the image changes by")
    # The fault: the same table with its figures exchanged tints other boxes.
    exchanged = tinted({**table, "modules": {"mid_block": 0.4, "up_blocks.0": 0.1}})
    assert _severities(exchanged) != _severities(page)


def test_a_box_is_as_hot_as_the_hottest_part_in_it(tinted):
    page = tinted(
        {"modules": {"mid_block.resnets.0": 0.3, "mid_block.resnets.1": 0.1}, "skips": {}}
    )
    assert [*_severities(page).values()] == ["1.000"]
