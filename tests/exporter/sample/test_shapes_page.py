"""The page on the shipped model, nothing standing in: it samples, explains, compares.

One server and one page for all tests, in this order; a browser that complains, or asks another
host, fails the module.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser import Eyes
from tests.exporter.sample.conftest import Exported
from viewer.model.atlas import read
from viewer.model.recording import read_recording
from viewer.serve.netron import find
from viewer.serve.sampling import Sampler
from viewer.serve.server import Server
from viewer.serve.shown import Shown

CAPTION = "a red circle left of a blue square on white"
STEPS = 8
WAIT = 120_000.0
QUESTIONS = 13
PIXELS = """canvas => {
  const { width, height } = canvas;
  const copy = new OffscreenCanvas(width, height);
  const context = copy.getContext('2d', { willReadFrequently: true });
  context.drawImage(canvas, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  return { width, height, data: [...data] };
}"""


@pytest.fixture(scope="module")
def watched(chromium: Any) -> Iterator[Eyes]:
    eyes = Eyes(chromium)
    yield eyes
    for context in eyes.contexts:
        context.close()
    assert eyes.complaints == []
    assert {host.split(":")[0] for host in eyes.hosts if host} == {"127.0.0.1"}


@pytest.fixture(scope="module")
def sampler(exported: Exported) -> Sampler:
    return Sampler([exported("shapes")])


@pytest.fixture(scope="module")
def page(watched: Eyes, exported: Exported, sampler: Sampler) -> Iterator[Page]:
    server = Server(Shown((read(exported("shapes")),)), find(), sampler=sampler)
    server.start()
    sampler.ready()
    yield watched.open(server.url + "#/?tab=sample", wait="map")
    server.close()


@pytest.fixture(scope="module")
def sampled(page: Page) -> Page:
    """The page with its first run."""
    expect(page.get_by_label("Prompt", exact=True)).to_have_value(CAPTION)
    page.get_by_label("Steps", exact=True).fill(str(STEPS))
    page.get_by_role("button", name="Sample", exact=True).click()
    over(page, 1)
    return page


def over(page: Page, number: int) -> None:
    """Waits for the end of a run and for its last picture."""
    done = page.locator(f".sampling[data-run='{number}']:is([data-status=done], .failed)")
    done.wait_for(timeout=WAIT)
    page.locator(f".sampling[data-shown='{STEPS}']").wait_for()


def pixels(canvas: Locator) -> np.ndarray[Any, Any]:
    found = canvas.evaluate(PIXELS)
    flat = np.array(found["data"], dtype=float)
    return flat.reshape(found["height"], found["width"], 4)


def picture(page: Page, shot: int = 0) -> np.ndarray[Any, Any]:
    return pixels(page.locator(".shot .picture").nth(shot))


def across(weight: np.ndarray[Any, Any]) -> float:
    """How far right the weight lies, 0 to 1."""
    return float((weight.sum(0) * np.linspace(0, 1, weight.shape[1])).sum() / weight.sum())


def test_the_image_is_that_of_the_prompt(sampled: Page) -> None:
    expect(sampled.locator(".sample-status")).to_contain_text(f"{STEPS} steps in")
    expect(sampled.locator(".film button:enabled")).to_have_count(STEPS)
    expect(sampled.locator(".map.heated .skip.hot")).to_have_count(6)
    red, _, blue, _ = np.moveaxis(picture(sampled), 2, 0)
    left, right = across((red - blue).clip(60) - 60), across((blue - red).clip(60) - 60)
    assert left < 0.5 < right


def test_a_word_glows_over_its_thing(sampled: Page) -> None:
    sampled.get_by_label("Layer", exact=True).select_option(index=0)
    glow = {}
    for word in ("circle", "square"):
        sampled.locator(".word-chip", has_text=word).hover()
        shade = sampled.locator(".shot .shade")
        expect(shade).to_be_visible()
        glow[word] = across(pixels(shade)[..., 3] ** 3)
    assert glow["circle"] < glow["square"]


def test_a_pixel_lists_its_words_in_order(sampled: Page) -> None:
    box = sampled.locator(".shot-frame").first.bounding_box()
    assert box is not None
    sampled.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + box["height"] * 0.5)
    names = sampled.locator(".pixel-words .word-name")
    assert {"circle", "square"} < set(CAPTION.split())
    assert set(names.all_inner_texts()) <= set(CAPTION.split())
    shares = [
        float(text.rstrip(" %"))
        for text in sampled.locator(".pixel-words .value").all_inner_texts()
    ]
    assert len(shares) >= 5
    assert shares == sorted(shares, reverse=True)
    assert 0 < sum(shares) <= 100


def test_switches_on_the_map_make_the_second_run(sampled: Page, sampler: Sampler) -> None:
    sampled.get_by_role("button", name="Switches on the map").click()
    skip = sampled.locator(".map .skip[data-skip='3']")
    skip.locator(".tag").click()
    expect(skip).to_have_attribute("data-switch", "off")
    sampled.get_by_text("Words and FreeU").click()
    sampled.get_by_label("Word to mask").select_option("red")
    steps = sampled.get_by_label("Steps of “red” masked")
    steps.fill("1-4")
    steps.press("Tab")
    sampled.get_by_role("button", name="Sample beside it, 2 experiments").click()
    over(sampled, 2)
    done = read_recording(sampler.file(2)).metadata["experiments"]
    assert sorted((one["kind"], one["factors"]) for one in done) == [
        ("skip", [0.0]),
        ("word", [0.0]),
    ]
    second = sampled.locator(".shot").nth(1)
    expect(second).to_contain_text("skip 3 off, “red” masked at steps 1-4")
    assert np.abs(picture(sampled, 0) - picture(sampled, 1)).mean() > 1


def test_both_runs_are_scrubbed_together(sampled: Page) -> None:
    before = picture(sampled)
    sampled.get_by_label("Step", exact=True).fill("3")
    for shot in (0, 1):
        current = sampled.locator(".shot").nth(shot).locator(".film [aria-current=true]")
        expect(current).to_have_attribute("aria-label", "step 3")
    sampled.locator(".sampling[data-shown='3']").wait_for()
    assert np.abs(picture(sampled) - before).mean() > 1


def test_thirteen_questions_are_answered_by_numbers(page: Page) -> None:
    page.get_by_role("tab", name="Questions").click()
    questions = page.locator(".question")
    expect(questions).to_have_count(QUESTIONS)
    silent = []
    for at in range(QUESTIONS):
        asked = questions.nth(at).inner_text()
        questions.nth(at).click()
        expect(page.locator("#panel h2")).to_have_text(asked)
        answer = page.locator(".answer")
        if not re.search(r"\d", answer.inner_text()) or not answer.locator(".next").count():
            silent.append(asked)
    assert silent == ["How do two checkpoints differ, and by how much?"]
    commands = [
        ("precision", "python -m exporter unet-fp16.onnx --model shapes --dtype fp16"),
        ("differ", "python -m viewer unet.onnx other.onnx"),
        ("duration", "python -m exporter.profile unet.onnx --case B1H33W35S77"),
    ]
    for name, command in commands:
        page.locator(f"[data-ask={name}]").click()
        expect(page.locator(".command code")).to_contain_text(command)


def test_what_breaks_without_a_skip_is_sampled_at_one_click(page: Page) -> None:
    page.locator("[data-ask=without]").click()
    page.get_by_role("button", name="Sample with it and without, here").click()
    over(page, 3)
    expect(page.locator(".shot").nth(1)).to_contain_text("skip 0 off")


OVERLAPS = """() => {
  const boxes = [...document.querySelectorAll('.map .block > .card')];
  const labels = [...document.querySelectorAll('.map .skip > .tab, .map .level > .tab')];
  const hit = (one, other) => {
    const [a, b] = [one, other].map((rect) => rect.getBoundingClientRect());
    return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
  };
  return labels.filter((one, at) =>
    [...boxes, ...labels.slice(at + 1)].some((other) => hit(one, other))).length;
}"""


@pytest.mark.parametrize("width", [1440, 1024, 390])
def test_every_width(page: Page, width: int, tmp_path: Path) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.wait_for_function(
        "() => { const map = document.querySelector('svg.map'); return Math.abs("
        "map.getBoundingClientRect().width / map.viewBox.baseVal.width - 1) < 0.05; }"
    )
    assert page.evaluate("document.scrollingElement.scrollWidth - window.innerWidth") <= 0
    assert page.evaluate(OVERLAPS) == 0
    taken = set()
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        taken.add(page.screenshot(path=tmp_path / f"shapes-{width}-{theme}.png"))
    assert len(taken) == 2
    wide = "document.querySelector('.map .skip > .tab').setAttribute('width', 400)"
    assert page.evaluate(f"() => {{ {wide}; return ({OVERLAPS})(); }}") > 0  # it can fail


def test_two_checkpoints_are_compared(
    watched: Eyes, exported: Exported, tmp_path: Path
) -> None:
    file = exported("shapes")
    other = tmp_path / "other" / file.name
    shutil.copytree(file.parent, other.parent)
    with other.with_suffix(".safetensors").open("r+b") as weights:
        weights.seek(-4, 2)
        weights.write(np.float32(3).tobytes())
    server = Server(Shown((read(file), read(other))), find())
    server.start()
    page = watched.open(server.url + "#/?tab=ask&ask=differ", wait="map")
    page.get_by_role("button", name="Compare the weights too").click()
    expect(page.locator(".answer")).to_contain_text("1 weight differs and")
    page.get_by_role("button", name="Every difference").click()
    expect(page.locator(".moved tbody tr")).to_have_count(1)
    page.close()
    server.close()
