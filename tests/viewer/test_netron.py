"""Our overlay in real Netron: colours, weights by range, other versions of its pages."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser import netron_frame
from viewer.serve import netron

ROOT = Path(__file__).parents[2]
VERSIONS = [None, *sorted((ROOT / "build").glob("netron-*/netron"))]
"""The installed one, and those that ``scripts/netrons`` has laid beside it."""


@pytest.fixture(params=VERSIONS, ids=lambda path: path.parent.name if path else "installed")
def graph(request, eyes, serve, atlas):
    server = serve(atlas, pages=netron.find(request.param))
    page = eyes.open(f"{server.url}#/down_blocks.0")
    expect(page.locator(".graph .note")).to_be_hidden()
    return page, netron_frame(page)


def test_nodes_and_edges_are_coloured_by_role(graph):
    _, frame = graph
    part = frame.locator(
        "[id='node-name-down_blocks.0.attentions.0'] .node-item-type path"
    ).first
    expect(part).to_have_css("fill", "rgb(102, 116, 133)")
    part = frame.locator(
        "[id='node-name-down_blocks.0.downsamplers.0'] .node-item-type path"
    ).first
    expect(part).to_have_css("fill", "rgb(102, 103, 15)")
    expect(frame.locator(".edge-path[data-flow=time]").first).to_be_attached()
    expect(frame.locator(".edge-path[data-flow=text]").first).to_be_attached()
    expect(frame.locator(".edge-path[data-flow=skip]").first).to_be_attached()


def test_a_weight_is_read_alone(graph, atlas):
    page, frame = graph
    weight = atlas.tree.by_path["down_blocks.0/resnets.0/conv2"].weights[0]
    with atlas.file.open(weight.location) as file:
        file.seek(weight.offset)
        (value,) = struct.unpack("<f", file.read(4))
    page.locator(".map .part").first.click()
    asked = []
    page.on(
        "request", lambda request: asked.append((request.url, request.headers.get("range")))
    )
    node = frame.locator("[id^='node-name-down_blocks.0.resnets.0.conv2']")
    node.locator(".node-argument").first.click()
    frame.locator(".sidebar-item-value-button, .sidebar-item-value-expander").first.click()
    expect(frame.locator("#sidebar")).to_contain_text("conv2.weight")
    expect(frame.locator("#sidebar pre").first).to_contain_text(str(value))
    data = [one for one in asked if "/data/" in one[0]]
    assert len(data) == 1
    first, last = map(int, data[0][1].removeprefix("bytes=").split("-"))
    assert last - first + 1 == 8 * 8 * 9 * 4


@pytest.fixture
def strange(tmp_path):
    """A Netron from the future: one hook renamed."""
    folder = tmp_path / "netron"
    shutil.copytree(
        netron.find().folder, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__")
    )
    view = folder / "view.js"
    view.write_text(view.read_text().replace("showNodeProperties(", "showNodeFacts("))
    return netron.find(folder)


def test_an_unknown_netron_is_shown_plain_with_a_note(eyes, serve, atlas, strange):
    page = eyes.open(serve(atlas, pages=strange).url)
    page.get_by_role("button", name="Show graph").click()
    note = page.locator(".graph .note")
    expect(note).to_contain_text("showNodeProperties")
    expect(note).to_contain_text("plain")
    expect(
        netron_frame(page).locator(".node-item-type", has_text="CrossAttnMid")
    ).to_be_visible()
    page.locator('.map [aria-label^="mid_block"]').first.click()
    expect(page.locator(".crumbs [aria-current]")).to_have_text("mid_block")
    page.get_by_role("button", name="Outline").click()
    expect(page.locator(".outline li")).to_have_count(2)


def test_netrons_own_page_is_unchanged_on_disk():
    folder = netron.find().folder
    assert "overlay" not in (folder / "index.html").read_text()
    record = next(folder.parent.glob("netron-*.dist-info/RECORD")).read_text()
    assert "netron/index.html" in record
    assert json.dumps(netron.find().version)
