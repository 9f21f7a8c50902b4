"""The page in a browser; ``page`` fails on any console error or request to another host."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser import netron_frame
from tests.viewer.tiny import build
from viewer.model.atlas import read


@pytest.fixture
def page(page):
    """With Netron beside the map."""
    page.get_by_role("button", name="Show graph").click()
    return page


def item(page, path):
    return page.locator(f'.map [aria-label^="{path}"]').first


def crumb(page):
    return page.locator(".crumbs [aria-current]")


def test_the_u_is_drawn(page, atlas):
    expect(page.locator(".map .block")).to_have_count(8)
    expect(page.locator(".map g.skip")).to_have_count(4)
    expect(page.locator(".map .skip .tag").first).to_have_text("skip 0 · 8×H×W")
    expect(page.locator(".map .tap.time[data-block]")).to_have_count(5)
    expect(page.locator(".map .tap.text")).to_have_count(2)
    expect(page.locator(".map .level .tag")).to_have_text(
        ["level 0 · H×W", "level 1 · H/2×W/2"]
    )
    block = item(page, "down_blocks.0")
    expect(block.locator(".shape").first).to_have_text("8 × H×W")
    expect(block.locator(".cost")).to_contain_text("2.5 k · 50.0 % FLOPs")
    expect(page.locator(".missing")).to_be_hidden()


def test_numbers_instead_of_symbols(page):
    page.locator("button.numbers").click()
    expect(item(page, "down_blocks.1").locator(".shape").first).to_have_text("8 × 8×8")
    page.reload()
    expect(item(page, "down_blocks.1").locator(".shape").first).to_have_text("8 × 8×8")


def test_hover_explains(page):
    item(page, "mid_block").locator(".name").hover()
    tip = page.locator(".tip")
    expect(tip).to_contain_text("mid_block")
    expect(tip).to_contain_text("UNetMidBlock2DCrossAttn")
    expect(tip).to_contain_text("parameters")
    page.locator(".map .skip .tag").nth(2).hover()
    expect(tip).to_contain_text("down_blocks.0/downsamplers.0 → up_blocks.0/Concat~2")


def test_a_click_on_the_map_opens_the_function_in_netron(page):
    item(page, "down_blocks.0").locator(".name").click()
    expect(crumb(page)).to_have_text("down_blocks.0")
    graph = netron_frame(page)
    expect(graph.locator(".node-item-type", has_text="Transformer")).to_be_visible()
    expect(graph.locator(".node-item-type", has_text="Downsample")).to_be_visible()
    expect(item(page, "down_blocks.0")).to_have_class(re.compile("selected"))


def test_netrons_selection_moves_the_map(page):
    graph = netron_frame(page)
    graph.locator(".node-item-type", has_text="CrossAttnMid").locator("text").click()
    expect(crumb(page)).to_have_text("mid_block")
    expect(item(page, "mid_block")).to_have_class(re.compile("selected"))
    expect(page.locator("#panel h2")).to_have_text("mid_block")


def test_walking_in_netron_moves_the_map(page):
    graph = netron_frame(page)
    node = graph.locator("[id='node-name-mid_block']")
    node.locator(".node-item-type").nth(1).click()
    expect(crumb(page)).to_have_text("mid_block")
    expect(graph.locator(".node-item-type", has_text="Resnet")).to_be_visible()
    graph.locator("#toolbar-path-back-button").click()
    expect(crumb(page)).to_have_text("tiny")


def test_deep_links_survive_reload(eyes, serve, atlas):
    place = "#/down_blocks.0/attentions.0/transformer_blocks.0/attn2"
    page = eyes.open(f"{serve(atlas).url}{place}?select=Attention&tab=attention")
    for _ in range(2):
        expect(crumb(page)).to_have_text("Attention")
        expect(page.locator("#panel h2")).to_have_text("Cross-attention 1 of 2")
        expect(netron_frame(page).locator(".select.graph-node")).to_have_count(1)
        page.reload()
        page.wait_for_selector("html[data-ready=graph]")


@pytest.mark.parametrize(
    ("link", "name"),
    [
        ("#/down_blocks.0/resnets.0/conv1", "conv1"),
        ("#/down_blocks.0/nowhere/else", "down_blocks.0"),
        ("#/nowhere", "tiny"),
        ("#/down_blocks.0?select=nowhere", "down_blocks.0"),
        ("#/%E0%A4%A?tab=%", "tiny"),
    ],
)
def test_links_to_operators_and_to_nowhere(eyes, serve, atlas, link, name):
    page = eyes.open(serve(atlas).url + link)
    expect(crumb(page)).to_have_text(name)


def test_back_and_forward(page):
    item(page, "mid_block").locator(".name").click()
    item(page, "up_blocks.0").locator(".name").click()
    expect(crumb(page)).to_have_text("up_blocks.0")
    page.go_back()
    expect(crumb(page)).to_have_text("mid_block")
    expect(
        netron_frame(page).locator(".node-item-type", has_text="Transformer")
    ).to_be_visible()


def test_legend_steps_and_fades(page):
    legend = page.locator('.legend-item[data-role="cross_attention"]')
    expect(legend.locator(".legend-count")).to_have_text("2")
    legend.get_by_label("next cross-attention").click()
    expect(legend.locator(".legend-count")).to_have_text("1 of 2")
    legend.get_by_label("next cross-attention").click()
    expect(legend.locator(".legend-count")).to_have_text("2 of 2")
    expect(page.locator(".crumbs")).to_contain_text("mid_block")
    graph = netron_frame(page)
    expect(graph.locator(".select.graph-node")).to_have_count(1)
    legend.locator(".legend-toggle").click()
    expect(legend.locator(".legend-toggle")).to_have_attribute("aria-pressed", "false")
    expect(graph.locator(".atlas-off").first).to_be_attached()
    expect(page.locator(".map .part.off")).to_have_count(2)
    page.locator('.legend-item[data-role="resnet"] .legend-toggle').click()
    expect(page.locator(".map .part.off")).to_have_count(9)


@pytest.mark.parametrize(
    ("query", "first", "count"),
    [
        ("role:time_injection", "down_blocks.0/resnets.0/Add", 7),
        ("op:Concat", "up_blocks.0/Concat", 4),
        ("class:Downsample2D op:conv", "down_blocks.0/downsamplers.0/conv", 1),
        ("mid_block attn2 to_k", "mid_block/attentions.0/transformer_blocks.0/attn2/to_k", 1),
        ("resize", "up_blocks.0/upsamplers.0/Resize", 1),
    ],
)
def test_search_over_all_levels(page, query, first, count):
    page.keyboard.press("/")
    expect(page.locator("#search")).to_be_focused()
    page.locator("#search").fill(query)
    results = page.locator("#results [role=option]")
    expect(results).to_have_count(count)
    expect(results.first).to_contain_text(first)
    page.keyboard.press("Enter")
    expect(page.locator("#results")).to_be_hidden()
    assert first.split("/")[0] in page.url


def test_search_by_keyboard(page):
    page.locator("#search").fill("op:Concat")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    chosen = page.locator("#results [aria-selected=true]")
    expect(chosen).to_contain_text("up_blocks.1/Concat")
    page.keyboard.press("Enter")
    expect(crumb(page)).to_have_text("Concat")
    page.locator("#search").fill("no such thing")
    expect(page.locator("#results")).to_contain_text("Nothing has that name")
    page.keyboard.press("Escape")
    expect(page.locator("#results")).to_be_hidden()


def test_the_map_by_keyboard(page):
    page.locator(".map .item[tabindex='0']").focus()
    for _ in range(30):
        if "mid_block, level" in page.evaluate("document.activeElement.ariaLabel"):
            break
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(crumb(page)).to_have_text("mid_block")
    assert page.evaluate("document.activeElement.closest('.map') !== null")
    page.keyboard.press("Backspace")
    expect(crumb(page)).to_have_text("tiny")
    page.get_by_role("tab", name="About").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Attention")).to_be_focused()
    expect(page.locator("#panel svg.figure")).to_be_visible()


def test_everything_has_a_name(page):
    nameless = page.evaluate(
        """() => {
          const kinds = 'button, a, input, select, iframe, [role=button], [role=separator]';
          const named = (one) => one.textContent.trim() || one.ariaLabel || one.title;
          return [...document.querySelectorAll(kinds)].filter((one) => !named(one)).length;
        }"""
    )
    assert nameless == 0


def test_breadcrumb_and_outline(page):
    item(page, "down_blocks.0").locator(".part").nth(1).click()
    expect(page.locator(".crumbs [aria-current]")).to_have_text("attn1")
    page.locator(".crumbs button", has_text="attentions.0").click()
    expect(page.locator(".crumbs li")).to_have_count(3)
    page.get_by_role("button", name="Outline").click()
    rows = page.locator(".outline li")
    expect(rows.first).to_contain_text("Reshape")
    page.locator(".outline button", has_text="transformer_blocks.0").click()
    expect(crumb(page)).to_have_text("transformer_blocks.0")
    page.locator(".crumbs button", has_text="down_blocks.0").click()
    expect(rows).to_have_count(3)


def test_cross_attention_is_explained_with_shapes(page):
    page.get_by_role("tab", name="Attention").click()
    panel = page.locator("#panel")
    expect(panel).to_contain_text("2 heads of 4 channels each, 8 in all")
    expect(panel).to_contain_text("encoder_hidden_states")
    figure = panel.locator("svg.figure")
    for text in ("B×HW×8", "B×S×8", "B×S×12", "2 heads × 4"):
        expect(figure).to_contain_text(text)
    panel.get_by_label("next attention").click()
    expect(panel.locator("h2")).to_have_text("Cross-attention 2 of 2")
    expect(page.locator(".crumbs")).to_contain_text("mid_block")
    figure.get_by_role("button", name=re.compile("^K: ")).click()
    expect(crumb(page)).to_have_text("to_k")


def test_time_is_explained_to_each_injection(page):
    page.get_by_role("tab", name="Time").click()
    panel = page.locator("#panel")
    expect(panel.locator("h2")).to_have_text("Time: one vector, 7 injections")
    expect(panel.locator("svg.figure .time_injection")).to_have_count(7)
    expect(panel.locator("tbody tr")).to_have_count(7)
    expect(panel).to_contain_text("sinusoid in Unsqueeze → Sin")
    panel.locator("svg.figure .time_injection").nth(2).click()
    expect(page.locator(".crumbs li")).to_have_text(["tiny", "mid_block", "resnets.0", "Add"])


def test_shapes_down_and_up(page):
    page.get_by_role("tab", name="Shapes").click()
    rows = page.locator("#panel tbody tr")
    expect(rows.nth(2)).to_contain_text("down_blocks.0")
    expect(page.locator("#panel tr", has_text="downsamplers.0")).to_contain_text("1×8×8×8")


@pytest.fixture
def tracing(page):
    page.get_by_role("tab", name="Trace").click()
    return page


def test_trace_the_timestep(tracing):
    tracing.get_by_role("button", name="How does timestep reach out_sample?").click()
    panel = tracing.locator("#panel")
    expect(panel).to_contain_text("It enters the image in 7 places")
    steps = panel.locator(".steps li")
    expect(steps.first).to_contain_text("timestep")
    expect(steps.last).to_contain_text("B×4×H×W")
    expect(tracing.locator(".map .bus.time.lit")).to_have_count(1)
    expect(tracing.locator(".map .bus.text.lit")).to_have_count(0)
    graph = netron_frame(tracing)
    expect(graph.locator("html.atlas-tracing")).to_have_count(1)
    expect(graph.locator("[id='node-name-time_embedding']")).to_have_class(
        re.compile("atlas-lit")
    )
    expect(graph.locator("[data-role=conv_in]")).not_to_have_class(re.compile("atlas-lit"))
    tracing.get_by_role("button", name="clear").click()
    expect(graph.locator("html.atlas-tracing")).to_have_count(0)


def test_trace_where_the_text_enters(tracing):
    tracing.get_by_role("button", name="Where does the text enter?").click()
    places = tracing.locator("#panel p", has_text="It enters the image in 2 places").locator(
        "button"
    )
    expect(places).to_have_count(2)
    places.first.click()
    expect(crumb(tracing)).to_have_text("Attention")
    expect(netron_frame(tracing).locator(".edge-path.atlas-lit").first).to_be_attached()


def test_a_trace_is_listed_by_block_from_the_first_attention_on(tracing):
    tracing.get_by_role("button", name="Where does the text enter?").click()
    names = tracing.locator(".steps .station > .node-link")
    expect(names).to_have_text(["down_blocks.0", "mid_block", "up_blocks.1", "last conv"])
    doors = tracing.locator(".steps .station .doors")
    expect(doors).to_have_text(["cross-attention 1", "cross-attention 1", "", ""])
    rows = tracing.locator(".steps li")
    attends = rows.filter(has_text=re.compile("attn2/Attention"))
    expect(attends).to_have_count(1)  # the way goes through the first of the two
    expect(attends).to_contain_text("down_blocks.0/attentions.0")
    tracing.get_by_role("button", name="How does timestep reach out_sample?").click()
    expect(names.first).to_have_text("time embedding")
    expect(doors.nth(1)).to_have_text("time injection 1")


def test_trace_a_skip(tracing):
    tracing.get_by_label("follow a skip").select_option("2")
    expect(tracing.locator(".map .skip.lit")).to_have_count(1)
    expect(tracing.locator(".steps li").last).to_contain_text("up_blocks.0/Concat~2")
    expect(tracing.locator("#panel")).to_contain_text("Skip 2 leaves")


def test_trace_between_two_picked_values(tracing):
    start = tracing.locator("[data-field=from]")
    start.fill("down_blocks.0/resnets.0/conv1")
    start.press("Tab")
    end = tracing.locator("[data-field=to]")
    end.fill("up_blocks.0")
    end.press("Tab")
    expect(tracing.locator("#panel")).to_contain_text("The shortest way has")
    end.fill("time_embedding")
    end.press("Tab")
    expect(tracing.locator("#panel")).to_contain_text("does not depend on")
    end.fill("gibberish")
    end.press("Tab")
    expect(tracing.locator("#panel")).to_contain_text("No value or node is called gibberish")


def test_trace_from_and_to_the_selection(tracing):
    item(tracing, "mid_block").locator(".name").click()
    tracing.get_by_role("button", name="trace from here").click()
    item(tracing, "up_blocks.1").locator(".name").click()
    tracing.get_by_role("button", name="trace to here").click()
    expect(tracing.locator("#panel")).to_contain_text("lie between hidden_mid and hidden_up_1")


def test_parity_colours_the_map(eyes, serve, atlas):
    blocks = [
        {"module": "mid_block", "max_abs": 2e-5},
        {"module": "up_blocks.0", "max_abs": 1e-7},
    ]
    page = eyes.open(serve(atlas, report={"blocks": blocks}).url + "#/?tab=parity")
    expect(page.locator("#panel")).to_contain_text("proven on cpu")
    expect(page.locator("#panel tbody tr", has_text="mid_block")).to_contain_text("2.0e-5")
    severity = "one => Number(one.style.getPropertyValue('--severity'))"
    tinted = page.locator(".map .block[data-error]")
    expect(tinted).to_have_count(2)
    worse, better = (tinted.nth(index).evaluate(severity) for index in range(2))
    assert 1 > worse > better > 0


def test_the_first_departure_is_shown(eyes, serve, atlas):
    finding = {
        "module": "mid_block.resnets.0.conv1",
        "block": "mid_block.resnets.0",
        "before": 1e-7,
    }
    finding |= {
        "operator": "Conv",
        "node": "no such node",
        "after": None,
        "evidence": ["A constant differs."],
    }
    cases = [{"name": "B1H8W8", "errors": {"max_abs": 0.5}, "floor": {"ratio": 812.3}}]
    report = {
        "parity": {"verdict": "failed", "cases": cases},
        "location": {"finding": finding},
    }
    page = eyes.open(serve(atlas, report=report).url + "#/?tab=parity")
    departure = page.locator(".departure")
    expect(departure).to_contain_text("nothing finite after it. A constant differs.")
    expect(page.locator("#panel tbody tr").first).to_contain_text("810×")
    expect(page.locator(".map .part[data-error]")).to_have_count(1)
    departure.locator("button").click()
    expect(crumb(page)).to_have_text("conv1")


def test_light_and_dark(eyes, serve, atlas):
    page = eyes.open(serve(atlas).url, color_scheme="dark")
    frame = netron_frame(page)
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    expect(frame.locator("html")).to_have_attribute("data-theme", "dark")
    page.get_by_label("Colours").select_option("light")
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    expect(frame.locator("body")).to_have_css("background-color", "rgb(255, 255, 255)")
    page.get_by_label("Colours").select_option("dark")
    expect(frame.locator("body")).to_have_css("background-color", "rgb(64, 64, 64)")
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


CONTRAST = """([front, back]) => {
  const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
  const shade = (selector, html) => {
    const one = document.querySelector(selector);
    canvas.fillStyle = getComputedStyle(one)[one instanceof SVGElement ? 'fill' : html];
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((byte) => {
      const part = byte / 255;
      return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const [a, b] = [shade(front, 'color'), shade(back, 'backgroundColor')];
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
}"""
"""Contrast ratio of two elements as WCAG 2 defines it."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(eyes, serve, atlas, scheme):
    page = eyes.open(serve(atlas).url, wait="graph", color_scheme=scheme)
    pairs = [
        (".map .block .cost", ".map .card"),
        (".map .role-resnet .word", ".map .role-resnet .chip"),
        (".map .role-cross_attention .word", ".map .role-cross_attention .chip"),
        (".map .role-self_attention .word", ".map .role-self_attention .chip"),
        (".map .role-downsample .word", ".map .role-downsample .chip"),
        (".map .skip .tag", ".map .tab.skip"),
        (".map .level .tag", ".map .tab.level"),
        (".tabs [aria-selected=false]", ".tabs"),
        (".legend-item .legend-count", ".legend"),
        (".question", ".question"),
    ]
    for front, back in pairs:
        assert page.evaluate(CONTRAST, [front, back]) >= 4.5, (front, back)


def test_two_viewers_at_once(eyes, serve, atlas, tmp_path):
    other = read(build(tmp_path / "other.onnx"))
    first, second = eyes.open(serve(atlas).url), eyes.open(serve(other).url)
    expect(first.locator(".facts")).to_contain_text("tiny.onnx")
    expect(second.locator(".facts")).to_contain_text("other.onnx")
    item(first, "mid_block").locator(".name").click()
    expect(crumb(second)).to_have_text("tiny")
