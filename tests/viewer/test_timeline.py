"""The page that replays a recording, in a browser."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.viewer import recorded
from tests.viewer.test_server import ask
from viewer.model.recording import read_recording
from viewer.replay.cli import main
from viewer.serve import netron
from viewer.serve.server import Server
from viewer.serve.shown import Shown


@pytest.fixture(scope="session")
def file(tiny):
    return recorded.write(tiny.parent / "run.safetensors")


@pytest.fixture
def server(atlas, file):
    started = Server(Shown((atlas,), recording=read_recording(file)), netron.find())
    started.start()
    yield started
    started.close()


@pytest.fixture
def page(eyes, server):
    return eyes.open(f"{server.url}recording", wait="timeline")


def test_scrubbing(page):
    expect(page.locator(".step-label")).to_have_text("step 1 of 6, t = 999")
    page.locator("#step").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("html[data-shown='2']")
    expect(page.locator(".step-label")).to_contain_text("step 2 of 6")
    page.reload()
    page.wait_for_selector("html[data-shown='2']")


def test_playing_to_the_end(page):
    page.locator(".play").click()
    expect(page.locator(".play")).to_have_text("Pause")
    page.wait_for_selector("html[data-shown='6']")
    expect(page.locator(".play")).to_have_text("Play")


def test_the_map_shows_the_quantity(page, file):
    values = read_recording(file).quantity("residual.share").values
    chip = page.locator('.map [aria-label^="down_blocks.0/resnets.0:"]')
    shown = float(chip.get_attribute("data-value"))
    assert shown == pytest.approx(values[0, 1, 0], rel=5e-3)
    page.get_by_role("button", name="Unconditional").click()
    expect(chip).not_to_have_attribute("data-value", f"{shown}")
    page.get_by_label("Quantity").select_option("skip.share")
    expect(page.locator(".map .skip.hot")).to_have_count(4)


def test_a_click_on_the_map_shows_curves(page):
    page.locator('.map [aria-label^="down_blocks.0/resnets.0:"]').click()
    expect(page.locator(".charts h2")).to_have_text("down_blocks.0.resnets.0")
    expect(page.locator(".chart")).to_have_count(8)
    expect(page.locator(".chart .curve")).to_have_count(16)
    page.locator(".matrix-names button", has_text="mid res 0").click()
    expect(page.locator(".charts h2")).to_have_text("mid_block.resnets.0")


def test_attention_maps_by_token_and_layer(page):
    expect(page.locator(".grid tbody tr")).to_have_count(2)
    expect(page.locator(".grid thead th").nth(4)).to_have_text("cat")
    expect(page.locator(".grid canvas")).to_have_count(10)
    label = page.locator(".grid canvas").nth(3).get_attribute("aria-label")
    assert re.match(r"cat, down 0 attn 0.0, 8 × 8: [\d.]+ to [\d.]+", label)
    page.locator(".grid button", has_text="mid attn").click()
    expect(page.locator(".grid tr.current th")).to_contain_text("mid attn 0.0")


def test_the_offline_page_asks_for_nothing(eyes, file, tmp_path):
    target = tmp_path / "run.html"
    assert main([str(file), "--html", str(target)]) == 0
    page = eyes.open(target.as_uri(), wait="timeline")
    expect(page.locator(".map .hot")).not_to_have_count(0)
    page.locator("#step").fill("4")
    page.wait_for_selector("html[data-shown='4']")
    expect(page.locator(".grid canvas")).to_have_count(10)
    assert eyes.hosts == {""}


def test_without_a_model_there_is_no_map(eyes, file):
    server = Server(Shown((), recording=read_recording(file)), netron.find())
    server.start()
    try:
        page = eyes.open(f"{server.url}recording", wait="timeline")
        expect(page.locator(".map")).to_have_count(0)
        expect(page.locator(".matrix-names button")).to_have_count(3)
    finally:
        server.close()


def test_names_are_text(eyes, atlas, tmp_path):
    evil = "<img src=x onerror=alert(1)>"
    prompt = {"note": evil, "tokens": [[evil] * 7] * 2}
    blocks = [{"module": evil, "role": evil}] * 4
    file = recorded.write(tmp_path / "evil.safetensors", prompt=prompt, blocks=blocks)
    server = Server(Shown((atlas,), recording=read_recording(file)), netron.find())
    server.start()
    try:
        page = eyes.open(f"{server.url}recording#quantity=block.rms", wait="timeline")
        expect(page.locator(".replay-note")).to_have_text(evil)
        expect(page.locator("img")).to_have_count(0)
    finally:
        server.close()


def test_the_map_page_links_to_it(eyes, server, serve, atlas):
    page = eyes.open(server.url)
    page.get_by_role("link", name="Recording").click()
    page.wait_for_selector("html[data-ready=timeline]")
    assert ask(serve(atlas), "/recording")[0].status == 404


def test_ranges_only(server, file):
    assert ask(server, "/recording/data")[0].status == 400
    answer, body = ask(server, "/recording/data", Range="bytes=0-7")
    assert answer.status == 206
    assert int.from_bytes(body, "little") > 100
    size = file.stat().st_size
    assert ask(server, "/recording/data", Range=f"bytes=0-{size}")[0].status == 416
