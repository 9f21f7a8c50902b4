"""Sampling on the page: runs stream in, words have regions, two runs stand side by side."""

from __future__ import annotations

import os
import re
from contextlib import suppress

import pytest
from playwright.sync_api import expect

from tests.viewer import recorded
from tests.viewer.sampling_command import COMMAND
from viewer.model.recording import read_recording
from viewer.serve import offline
from viewer.serve.netron import find
from viewer.serve.sampling import Sampler
from viewer.serve.server import Server
from viewer.serve.shown import Shown

WORDS = ["a", "red", "cat"]


@pytest.fixture
def sampler(tiny):
    return Sampler([tiny], "a pipeline", COMMAND)


@pytest.fixture
def sampled(eyes, atlas, sampler):
    """A page that stands on the panel Sample, and what runs behind it."""
    with Server(Shown((atlas,)), find(), sampler=sampler) as server:
        server.start()
        page = eyes.open(f"{server.url}#/?tab=sample", wait="")
        page.locator(".sampling").wait_for()
        yield page
        server.shutdown()


def run(page, prompt="a red cat", button="Sample", wait="done", number=1, **fields):
    page.get_by_label("Prompt", exact=True).fill(prompt)
    for name, value in fields.items():
        page.get_by_label(name.capitalize(), exact=True).fill(str(value))
    page.get_by_role("button", name=button, exact=button == "Sample").click()
    page.locator(f".sampling[data-run='{number}'][data-status={wait}]").wait_for()


def shots(page):
    return page.locator(".shot")


def point(page, x, y, shot=0):
    """Points at a pixel of the 8 x 8 maps."""
    box = shots(page).nth(shot).locator(".shot-frame").bounding_box()
    page.mouse.move(
        box["x"] + box["width"] * (x + 0.5) / 8, box["y"] + box["height"] * (y + 0.5) / 8
    )


def experiments(sampler, number=2):
    """What the run's command was given, beside what every run is."""
    given = read_recording(sampler.file(number)).metadata["run"]["given"]
    kinds = ("--without", "--scale", "--mask-token", "--swap-tokens", "--freeu")
    return [one for one in given if one.startswith(kinds)]


def expected(seed, step, x, y):
    """Probability of each word at a pixel, the mean of both layers."""
    t = recorded.tensors(seed, heads=2)
    fine = t["attention.map.0"][step, 1, 1:4, y, x].astype(float)
    coarse = t["attention.map.1"][step, 1, 1:4, y // 2, x // 2].astype(float)
    return dict(zip(WORDS, (fine + coarse) / 2, strict=True))


def test_steps_stream_in_and_the_map_lights_up(sampled, sampler):
    assert sampled.locator(".map .hot").count() == 0
    run(sampled, prompt="wait", wait="running")
    expect(sampled.locator(".sample-status")).to_have_text("Step 2 of 6")
    expect(sampled.locator(".film button:enabled")).to_have_count(2)
    expect(sampled.locator(".map.heated .skip.hot")).to_have_count(4)
    sampled.get_by_role("button", name="Cancel").click()
    sampled.locator(".sampling[data-status=cancelled]").wait_for()
    run(sampled, number=2)
    sampled.locator(".sampling[data-shown='6']").wait_for()
    expect(sampled.locator(".sample-status")).to_contain_text("6 steps in")
    expect(sampled.locator(".film button:enabled")).to_have_count(6)
    expect(sampled.locator(".map.heated .skip.hot")).to_have_count(4)
    share = read_recording(sampler.file(2)).quantity("skip.share").values[5, 1, 2]
    hot = sampled.locator(".map .skip[data-skip='2']")
    assert float(hot.get_attribute("data-value")) == pytest.approx(share, abs=5e-4)
    sampled.get_by_label("What the map shows").select_option("")
    expect(sampled.locator(".map .hot")).to_have_count(0)
    sampled.get_by_role("tab", name="About").click()
    expect(sampled.locator(".map.heated")).to_have_count(0)


def test_a_word_has_a_region_and_a_pixel_its_words_in_order(sampled):
    run(sampled, seed=3)
    chips = sampled.locator(".word-chip")
    expect(chips).to_have_text(WORDS)
    shade = shots(sampled).locator(".shade")
    expect(shade).to_be_hidden()
    chips.nth(1).hover()
    expect(shade).to_be_visible()
    expect(chips.nth(1)).to_have_class(re.compile("seen"))
    sampled.mouse.move(0, 0)
    expect(shade).to_be_hidden()
    chips.nth(2).focus()
    expect(shade).to_be_visible()
    point(sampled, 5, 2)
    found = expected(3, 5, 5, 2)
    names = sorted(found, key=found.get, reverse=True)
    expect(sampled.locator(".pixel-words .word-name")).to_have_text(names)
    expect(sampled.locator(".pixel-words .value")).to_have_text(
        [f"{100 * found[name]:.0f} %" for name in names]
    )


def test_the_picture_by_keyboard(sampled):
    run(sampled)
    shots(sampled).locator(".shot-frame").focus()
    words = sampled.locator(".pixel-words p").first
    sampled.keyboard.press("ArrowLeft")
    expect(words).to_have_text("Pixel 5, 5 of 8 × 8 looks at")
    for _ in range(9):
        sampled.keyboard.press("ArrowUp")
    sampled.keyboard.press("ArrowRight")
    expect(words).to_have_text("Pixel 6, 1 of 8 × 8 looks at")


def test_layers_and_heads_share_one_scale(sampled):
    run(sampled)
    t = recorded.tensors(0, heads=2)
    maps = [t["attention.heads.0"], t["attention.map.0"], t["attention.map.1"]]
    most = max(float(one[:, 1, ..., 1:4, :, :].max()) for one in maps)
    scale = sampled.locator(".glow-scale")
    expect(scale).to_contain_text(f"{100 * most:.0f} %, one scale for all")
    sampled.get_by_label("Layer", exact=True).select_option(index=1)
    sampled.get_by_label("Head", exact=True).select_option("1")
    point(sampled, 0, 0)
    value = float(t["attention.heads.0"][5, 1, 1, 1:4, 0, 0].max())
    expect(sampled.locator(".pixel-words .value").first).to_have_text(f"{100 * value:.0f} %")
    width = sampled.locator(".pixel-words .fill").first.evaluate("one => one.style.width")
    assert float(width.rstrip("%")) == pytest.approx(100 * value / most, abs=0.2)
    expect(scale).to_contain_text(f"{100 * most:.0f} %")
    sampled.get_by_label("Layer", exact=True).select_option(index=2)
    expect(sampled.get_by_label("Head", exact=True)).to_be_disabled()


def test_two_runs_are_scrubbed_together(sampled):
    run(sampled)
    run(sampled, button="Sample beside it", number=2, seed=5)
    expect(shots(sampled)).to_have_count(2)
    expect(shots(sampled).nth(1)).to_contain_text("seed 5")
    sampled.get_by_label("Step", exact=True).fill("3")
    for shot in (0, 1):
        current = shots(sampled).nth(shot).locator(".film [aria-current=true]")
        expect(current).to_have_attribute("aria-label", "step 3")
    point(sampled, 1, 6, shot=1)
    for shot, seed in ((0, 0), (1, 5)):
        found = expected(seed, 2, 1, 6)
        names = sorted(found, key=found.get, reverse=True)
        expect(shots(sampled).nth(shot).locator(".word-name")).to_have_text(names)
    sampled.get_by_role("button", name="Play").click()
    expect(sampled.locator(".sampling[data-shown='6']")).to_be_visible()


def test_the_second_run_is_of_another_checkpoint(eyes, tiny, atlas):
    sampler = Sampler([tiny, tiny], "a pipeline", COMMAND)
    with Server(Shown((atlas, atlas)), find(), sampler=sampler) as server:
        server.start()
        page = eyes.open(f"{server.url}#/?tab=sample", wait="")
        run(page)
        page.locator(".field", has_text="Model").locator("select").select_option("1")
        page.get_by_label("Guidance", exact=True).fill("2")
        page.locator(".field", has_text="Scheduler").locator("select").select_option("euler")
        page.get_by_role("button", name="Sample beside it").click()
        page.locator(".sampling[data-run='2'][data-status=done]").wait_for()
        expect(shots(page).nth(1)).to_contain_text("guidance 2, scheduler euler, model 1")
        assert sampler.state()["runs"][1]["order"]["model"] == 1
        server.shutdown()


def test_switches_on_the_map_start_the_second_run(sampled, sampler):
    run(sampled)
    sampled.get_by_role("button", name="Switches on the map").click()
    skip = sampled.locator(".map .skip[data-skip='1']")
    skip.locator(".tag").click()
    expect(skip).to_have_attribute("data-switch", "off")
    attention = sampled.locator(
        '.map .part.role-cross_attention[aria-label^="mid_block/attentions.0"]'
    )
    attention.focus()
    for state in ("off", "half"):
        sampled.keyboard.press("Enter")
        expect(attention).to_have_attribute("data-switch", state)
    resnet = sampled.locator('.map .part[aria-label^="down_blocks.0/resnets.0"]').first
    for state in ("off", "half", "on", "off"):
        resnet.click()
        expect(resnet).to_have_attribute("data-switch", state)
    run(sampled, button="Sample beside it, 3 experiments", number=2)
    assert experiments(sampler) == [
        "--without=skip:1",
        "--without=time:down_blocks.0.resnets.0",
        "--scale=cross:mid_block.attentions.0=0.5",
    ]
    expect(shots(sampled).nth(1)).to_contain_text("skip 1 off")
    sampled.get_by_role("button", name="skip 1 off").click()
    expect(skip).to_have_attribute("data-switch", "on")
    sampled.get_by_label("Add a switch").select_option("skip:2")
    expect(sampled.locator(".map .skip[data-skip='2']")).to_have_attribute(
        "data-switch", "off"
    )


def test_words_freeu_and_steps_are_experiments_too(sampled, sampler):
    run(sampled)
    sampled.get_by_text("Words and FreeU").click()
    sampled.get_by_label("Word to mask").select_option("red")
    sampled.get_by_label("Word to swap", exact=True).select_option("red")
    sampled.get_by_label("Word to swap it with").select_option("cat")
    sampled.get_by_label("FreeU s2").fill("0.4")
    sampled.get_by_role("button", name="Add FreeU").click()
    rows = sampled.locator(".experiment")
    expect(rows).to_have_count(3)
    steps = sampled.get_by_label("Steps of “red” masked")
    steps.fill("1-3")
    steps.press("Tab")
    wrong = sampled.get_by_label("Steps of FreeU")
    wrong.fill("first")
    wrong.press("Tab")
    assert not wrong.evaluate("one => one.validity.valid")
    run(sampled, button="Sample beside it, 3 experiments", number=2)
    assert experiments(sampler) == [
        "--mask-token=red@1-3",
        "--swap-tokens=red,cat",
        "--freeu=0.9,0.4,1.5,1.6",
    ]
    expect(shots(sampled).nth(1)).to_contain_text(
        "“red” masked at steps 1-3, “red” and “cat” swapped, FreeU 0.9, 0.4, 1.5, 1.6"
    )
    sampled.get_by_role("button", name="“red” masked").click()
    expect(rows).to_have_count(2)


def test_cancelling_on_the_page_leaves_no_process(sampled, sampler):
    run(sampled, prompt="wait", wait="running")
    sampled.locator(".film button:enabled").nth(1).wait_for()
    pid = sampler._worker.pid
    expect(sampled.get_by_role("button", name="Sample", exact=True)).to_be_disabled()
    sampled.get_by_role("button", name="Cancel").click()
    sampled.locator(".sampling[data-status=cancelled]").wait_for()
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        pytest.fail("the process is still there")
    expect(sampled.get_by_role("button", name="Sample", exact=True)).to_be_enabled()


def test_what_the_command_refuses_is_said_as_text(sampled):
    run(sampled, prompt="refuse", wait="failed")
    expect(sampled.locator(".sample-status.failed")).to_have_text(
        "<b>no</b>; expected another"
    )


def test_a_reload_finds_the_last_run_again(sampled):
    run(sampled)
    sampled.reload()
    expect(shots(sampled)).to_have_count(1)
    expect(sampled.locator(".sampling[data-status=done]")).to_be_visible()
    expect(sampled.locator(".word-chip")).to_have_text(WORDS)


def test_a_recorded_run_is_on_the_page_without_sampling(eyes, atlas, tmp_path):
    recording = read_recording(recorded.write(tmp_path / "run.safetensors"))
    with Server(Shown((atlas,), recording=recording), find()) as server:
        server.start()
        page = eyes.open(f"{server.url}#/?tab=sample", wait="")
        expect(page.locator(".how-to")).to_contain_text("python -m viewer tiny.onnx")
        page.get_by_label("Step", exact=True).fill("2")
        expect(page.locator(".sample-time")).to_contain_text("step 2 of 6")
        expect(page.locator(".map .skip.hot")).to_have_count(4)
        server.shutdown()


def test_a_page_in_a_file_has_the_recorded_run(eyes, atlas, tmp_path):
    recording = read_recording(recorded.write(tmp_path / "run.safetensors", heads=2))
    target = tmp_path / "tiny.html"
    offline.write(Shown((atlas,), recording=recording), target)
    page = eyes.open(f"{target.as_uri()}#/?tab=sample", wait="map")
    expect(page.locator(".how-to")).to_contain_text("python -m viewer tiny.onnx")
    expect(page.locator(".word-chip")).to_have_text(WORDS)
    page.get_by_label("Step", exact=True).fill("3")
    expect(page.locator(".sample-time")).to_contain_text("step 3 of 6")
    share = recording.quantity("skip.share").values[2, 1, 2]
    hot = page.locator(".map .skip[data-skip='2']")
    expect(hot).to_have_class(re.compile("hot"))
    assert float(hot.get_attribute("data-value")) == pytest.approx(share, abs=5e-4)
    point(page, 5, 2)
    found = expected(0, 2, 5, 2)
    names = sorted(found, key=found.get, reverse=True)
    expect(page.locator(".pixel-words .word-name")).to_have_text(names)


@pytest.mark.parametrize("width", [390, 1024, 1440])
def test_every_width(sampled, width, tmp_path):
    sampled.set_viewport_size({"width": width, "height": 844})
    run(sampled)
    run(sampled, button="Sample beside it", number=2, seed=1)
    sampled.locator(".word-chip").first.click()
    wide = sampled.evaluate("document.scrollingElement.scrollWidth - window.innerWidth")
    assert wide <= 0
    assert sampled.evaluate(
        "[...document.querySelectorAll('.panel, .sampling')]"
        ".every((one) => one.scrollWidth <= one.clientWidth + 1)"
    )
    if width == 390:
        small = sampled.evaluate(
            "[...document.querySelectorAll('.sampling button, .sampling select')]"
            ".filter((one) => one.offsetHeight > 0 && one.offsetHeight < 43)"
            ".map((one) => one.textContent || one.ariaLabel)"
        )
        assert small == []
    pictures = set()
    for theme in ("light", "dark"):
        sampled.emulate_media(color_scheme=theme)
        pictures.add(sampled.screenshot(path=tmp_path / f"sample-{width}-{theme}.png"))
    assert len(pictures) == 2
