"""Whole views: two models side by side, exports, the page without a server."""

from __future__ import annotations

import re

import onnx
import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.browser import netron_frame
from tests.viewer.test_atlas import foreign
from tests.viewer.tiny import build
from viewer.model.atlas import read
from viewer.serve import offline, shown
from viewer.serve.shown import Shown


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    path = build(tmp_path_factory.mktemp("other") / "other.onnx", seed=1)
    model = onnx.load(path, load_external_data=False)
    for function in model.functions:
        if function.domain == "unet.mid_block.resnets.0":
            function.node[0].op_type = "Tanh"
    path.write_bytes(model.SerializeToString())
    return read(path)


def test_two_models_side_by_side(eyes, serve, atlas, other):
    page = eyes.open(serve(atlas, other).url + "#/?tab=compare")
    expect(page.locator("svg.map")).to_have_count(2)
    expect(page.locator("#panel")).to_contain_text("1 node differs")
    row = page.locator("tr[data-path='mid_block/resnets.0/nonlinearity']")
    expect(row).to_contain_text("Sigmoid")
    expect(row).to_contain_text("Tanh")
    for index in range(2):
        changed = page.locator("svg.map").nth(index).locator(".block[data-differs]")
        expect(changed).to_have_count(1)
    row.locator("button").nth(1).click()
    expect(page.locator(".map-box.current .map-title")).to_contain_text("other.onnx")
    frame = netron_frame(page)
    expect(frame.locator(".select.graph-node")).to_contain_text("Tanh")
    page.get_by_role("button", name="Compare the weights too").click()
    expect(page.locator(".weights")).to_contain_text("weights differ and 0 are equal")


def test_equal_models(eyes, serve, atlas, tmp_path):
    page = eyes.open(serve(atlas, read(build(tmp_path / "again.onnx"))).url + "#/?tab=compare")
    expect(page.locator("#panel")).to_contain_text("same modules, operators and shapes")


@pytest.mark.parametrize("kind", ["map", "figure", "graph"])
def test_a_view_as_svg_and_png(eyes, serve, atlas, tmp_path, kind):
    page = eyes.open(serve(atlas).url + "#/down_blocks.0?tab=attention")
    for format in ("svg", "png"):
        with page.expect_download() as download:
            page.get_by_label("Export").select_option(f"{kind}-{format}")
        target = tmp_path / f"figure.{format}"
        download.value.save_as(target)
        assert download.value.suggested_filename == f"tiny-{kind}.{format}"
    text = (tmp_path / "figure.svg").read_text()
    assert "var(--" not in text
    assert "Resnet" in text if kind == "graph" else "8" in text
    with Image.open(tmp_path / "figure.png") as image:
        assert image.width > 300
        assert len(image.convert("RGB").getcolors(1 << 24)) > 10


def test_the_offline_page_opens_from_a_file(eyes, atlas, tmp_path):
    target = tmp_path / "page.html"
    offline.write(Shown((atlas,)), target)
    page = eyes.open(target.as_uri(), wait="map")
    expect(page.locator(".map .block")).to_have_count(8)
    expect(page.locator("iframe")).to_have_count(0)
    page.locator('.map [aria-label^="mid_block"]').first.click()
    expect(page.locator(".outline li")).to_have_count(2)
    page.get_by_role("tab", name="Trace").click()
    page.get_by_role("button", name="How does timestep reach out_sample?").click()
    expect(page.locator(".outline li.lit")).to_have_count(2)
    page.get_by_role("tab", name="Time").click()
    expect(page.locator("svg.figure")).to_be_visible()
    page.reload()
    expect(page.locator(".crumbs [aria-current]")).to_have_text("mid_block")
    with page.expect_download() as download:
        page.get_by_label("Export").select_option("map-svg")
    assert re.fullmatch(r"tiny-map\.svg", download.value.suggested_filename)
    assert eyes.hosts == {""}


def test_the_offline_page_of_two_models(eyes, atlas, other, tmp_path):
    target = tmp_path / "page.html"
    offline.write(Shown((atlas, other)), target)
    page = eyes.open(target.as_uri() + "#/?tab=compare", wait="map")
    expect(page.locator("tr[data-path]")).to_have_count(1)
    expect(page.get_by_role("button", name="Compare the weights too")).to_have_count(0)


def test_the_page_gives_its_offline_self(eyes, serve, atlas, tmp_path):
    page = eyes.open(serve(atlas).url)
    with page.expect_download() as download:
        page.get_by_label("Export").select_option("page-html")
    assert download.value.suggested_filename == "tiny.html"
    download.value.save_as(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text() == offline.page(Shown((atlas,)))


def test_a_flat_foreign_file(eyes, serve, tmp_path):
    page = eyes.open(serve(read(foreign(tmp_path / "other.onnx"))).url)
    expect(page.locator(".missing summary")).to_contain_text(
        "things that this file does not say"
    )
    expect(page.locator(".map .block")).to_have_count(2)
    expect(page.locator("#panel")).to_contain_text(
        "straight across by an unknown number of skips. The time enters an unknown number of "
    )
    page.locator('.map [aria-label^="down_blocks.0"]').first.click()
    expect(page.locator(".crumbs [aria-current]")).to_have_text("down_blocks.0")
    expect(netron_frame(page).locator(".select.graph-node")).to_contain_text("Conv")
    for tab in page.locator("[role=tab]").all():
        tab.click()


def test_netron_is_not_asked_to_lay_out_a_huge_graph(eyes, serve, atlas, monkeypatch):
    monkeypatch.setattr(shown, "NETRON_LIMIT", 5)
    page = eyes.open(serve(atlas).url, wait="map")
    expect(page.locator("iframe")).to_have_count(0)
    expect(page.locator(".outline li")).not_to_have_count(0)
