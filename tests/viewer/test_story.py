"""The page that explains: stories, questions, sizes; one page of a server shared by most."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import expect

from tests.browser import Eyes
from tests.viewer.tiny import build
from viewer.model.atlas import Atlas, read
from viewer.model.flows import with_costs
from viewer.model.sizes import Nominal
from viewer.serve import netron, pages
from viewer.serve.server import Server
from viewer.serve.shown import Shown

TELL = """id => document.querySelector(`.map [data-story="${id}"]`)
    .dispatchEvent(new MouseEvent('click', { bubbles: true }))"""


@pytest.fixture(scope="module")
def shared(chromium, atlas):
    """A page of one server; it is told to go home before each test."""
    eyes, server = Eyes(chromium), Server(Shown((atlas,)), netron.find())
    server.start()
    page = eyes.open(server.url)
    yield page
    for context in eyes.contexts:
        context.close()
    server.close()
    assert eyes.complaints == []


@pytest.fixture
def home(shared):
    shared.evaluate("location.hash = '#/?tab=about'")
    expect(shared.locator(".story")).to_have_count(0)
    if shared.get_by_role("button", name="Hide graph").count():
        shared.get_by_role("button", name="Hide graph").click()
    return shared


@pytest.fixture
def stop(home):
    def tell(story: str, at: int = 0):
        home.evaluate(TELL, story)
        for _ in range(at):
            home.get_by_role("button", name="next stop").click()
        return home.locator(".story-say")

    return tell


def lit(page, what=".map .block.lit"):
    return page.locator(what)


def test_netron_is_folded_until_a_node_is_asked_for(home):
    expect(home.locator(".right")).to_be_hidden()
    assert home.locator("iframe").count() == 1  # made ready behind the map
    home.locator('.map [aria-label^="mid_block,"]').locator(".name").click()
    expect(home.locator(".right")).to_be_visible()
    home.get_by_role("button", name="Hide graph").click()
    expect(home.locator(".right")).to_be_hidden()


def test_the_text_is_told_level_by_level(home, stop):
    say = stop("text")
    expect(say).to_contain_text("encoder_hidden_states holds 77 tokens of 12 numbers each")
    expect(lit(home)).to_have_count(0)
    home.get_by_role("button", name="next stop").click()
    expect(say).to_contain_text("down_blocks.0, level 0, on the way down: 1 cross-attention.")
    expect(say).to_contain_text("256 × 77 = 19,712 weights a head")
    expect(lit(home)).to_have_count(1)
    expect(lit(home, ".map .tap.text.lit")).to_have_count(1)
    home.get_by_role("button", name="next stop").click()
    expect(lit(home)).to_have_count(2)
    expect(lit(home, ".map .block.now")).to_have_attribute(
        "aria-label", re.compile("^mid_block")
    )
    home.get_by_role("button", name="next stop").click()
    expect(say).to_contain_text("2 cross-attentions, and no other way in. down_blocks.1 and")
    expect(home.get_by_role("button", name="next stop")).to_be_disabled()
    assert "story=text" in home.url
    assert "stop=3" in home.url


def test_the_time_and_the_image(home, stop):
    expect(stop("time", 2)).to_contain_text("1 resnet projects it to 8 numbers")
    expect(lit(home, ".map .bus.time.lit")).to_have_count(1)
    expect(lit(home, ".map .bus.text.lit")).to_have_count(0)
    expect(stop("sample", 2)).to_contain_text("8 channels at 16×16, worked on by 1 resnet")
    expect(lit(home, ".map .skip.lit")).to_have_count(3)


def test_a_skip_and_a_level(home, stop):
    expect(stop("skip:2", 2)).to_contain_text(
        "8 channels from below and 8 from the skip make 16"
    )
    expect(lit(home, ".map .skip.lit")).to_have_attribute("data-skip", "2")
    expect(stop("level:1")).to_contain_text("Level 1 is 8×8 = 64 places (H/2×W/2)")
    expect(lit(home, ".map .level.lit")).to_have_count(1)
    expect(lit(home)).to_have_count(3)


def test_a_story_by_keyboard(home):
    home.locator(".map .item[tabindex='0']").focus()
    for _ in range(40):
        if home.evaluate("document.activeElement.dataset.story") == "level:0":
            break
        home.keyboard.press("ArrowRight")
    home.keyboard.press("Enter")
    expect(home.locator(".story h3")).to_have_text("Level 0")
    step = home.get_by_role("button", name="next stop")
    step.focus()
    home.keyboard.press("Enter")
    expect(home.locator(".story-count")).to_have_text(re.compile("^stop 2 of"))
    expect(step).to_be_focused()


def test_time_and_text_differ_without_colour(home):
    dashes = [
        home.locator(f".map .bus.{kind}").evaluate(
            "one => getComputedStyle(one).strokeDasharray"
        )
        for kind in ("time", "text")
    ]
    assert len({*dashes, "none"}) == 3


ANSWERS = {
    "text": "In 2 cross-attentions, in 2 of 5 blocks, and nowhere else.",
    "attend": "Self-attention lets every place look at every other",
    "time": "7 resnets: one number becomes a vector of 16",
    "cross": "4 skips, 5,120 numbers",
    "double": "Nowhere that the file says.",
    "holds": "holds the most parameters",
    "operands": "Q is the image's and K and V are the text's",
    "odd": "At 33×35 1 of the halvings round up, and 1 upsampling must not simply double",
    "precision": "--dtype fp16",
    "differ": "python -m viewer tiny.onnx other.onnx",
    "duration": "python -m exporter.profile tiny.onnx --case B1H16W16S77",
    "without": "exporter.sample tiny.onnx tiny-without-skip-0.safetensors --without skip:0",
    "word": "viewer tiny.onnx --pipeline FOLDER",
}


def test_thirteen_questions_are_one_click_each(home):
    asked = [one.get_attribute("data-ask") for one in home.locator(".question").all()]
    assert asked == list(ANSWERS)
    for name, words in ANSWERS.items():
        home.locator(f'.question[data-ask="{name}"]').click()
        expect(home.locator(".answer")).to_contain_text(words)
        home.evaluate("location.hash = '#/?tab=about'")


def test_what_one_tries_next(home):
    home.locator('.question[data-ask="cross"]').click()
    home.get_by_role("button", name="What breaks without it?").click()
    expect(home.locator(".answer")).to_contain_text("read zeros in 50.0 % of the channels")
    home.get_by_role("button", name="Skip 2 instead").click()
    expect(home.locator(".answer")).to_contain_text("--without skip:2")
    expect(lit(home, ".map .skip.lit")).to_have_attribute("data-skip", "2")


def test_an_odd_size_shows_where_the_skip_decides(home):
    home.get_by_role("button", name="33×35", exact=True).click()
    tags = home.locator(".map .level .tag")
    expect(tags).to_have_text(["level 0 · 33×35", "level 1 · 17×18"])
    expect(home.locator(".map .level.odd")).to_have_count(1)
    expect(home.locator(".map .role-downsample .word")).to_have_text("downsample to 17×18")
    home.get_by_role("button", name="reset").click()
    expect(tags.first).to_have_text("level 0 · 16×16")
    assert "size" not in home.url


def counted(page):
    """FLOPs of every node as the page counts them, at its own size and at an odd one."""
    return page.evaluate(
        """async () => {
          const { Atlas } = await import('/web/page/atlas.js');
          const { count, memory } = await import('/web/page/counting.js');
          const data = await (await fetch('/m/0/atlas.json')).json();
          const atlas = new Atlas(data);
          const read = () => atlas.nodes.map((one) => one.flops);
          const written = data.nodes.map((one) => one.flops ?? 0);
          const own = { flops: read(), memory: memory(atlas), written };
          count(atlas, { batch: 2, height: 33, width: 35, tokens: 5 });
          return { own, odd: { flops: read(), memory: memory(atlas) } };
        }"""
    )


def test_flops_and_memory_follow_the_size_as_python_counts_them(home, atlas: Atlas):
    found = counted(home)
    assert found["own"]["flops"] == found["own"]["written"]
    tree = with_costs(atlas.tree, Nominal(batch=2, height=33, width=35, tokens=5))
    assert found["odd"]["flops"] == [node.flops or 0 for node in tree.nodes]
    # The scores of the finest attention, and beside them its Q, K, V and little else.
    scores, operand = 4 * 2 * 2 * (33 * 35) ** 2, 4 * 2 * 8 * 33 * 35
    assert scores + 3 * operand <= found["odd"]["memory"]["values"] <= scores + 9 * operand
    assert found["odd"]["memory"]["weights"] == found["own"]["memory"]["weights"] > 4000


@pytest.mark.parametrize(
    ("module", "right", "wrong"),
    [
        ("counting.js", "=> 2 * elements(out) *", "=> elements(out) *"),
        ("counting.js", "4 * query[0]", "2 * query[0]"),
        ("numbers.js", "Math.ceil(", "Math.floor("),
    ],
)
def test_a_wrong_count_is_caught(home, atlas, module, right, wrong):
    page = home.context.new_page()
    page.goto(home.url.partition("#")[0] + "web/page/icon.svg")
    source = (pages.WEB / "page" / module).read_text()
    assert right in source
    kind = "text/javascript"
    page.route(
        f"**/{module}",
        lambda route: route.fulfill(body=source.replace(right, wrong), content_type=kind),
    )
    tree = with_costs(atlas.tree, Nominal(batch=2, height=33, width=35, tokens=5))
    assert counted(page)["odd"]["flops"] != [node.flops or 0 for node in tree.nodes]
    page.close()


def test_the_size_is_in_the_address(home):
    home.locator("[data-axis=height]").fill("40")
    home.keyboard.press("Tab")
    expect(home.locator(".map .level .tag").first).to_have_text("level 0 · 40×16")
    assert "size=1%2C40%2C16%2C77" in home.url
    for wrong in ("1,-3,x,99999999", "</script>", ",,,,"):
        home.evaluate("text => location.hash = `#/?size=${text}`", wrong)
        expect(home.locator(".map .level .tag").first).to_have_text("level 0 · 16×16")


@pytest.mark.parametrize("query", ["prompt", "token", "text", "encoder_hid"])
def test_search_finds_the_text_by_the_words_people_have(home, query):
    home.locator("#search").fill(query)
    first = home.locator("#results [role=option]").first
    expect(first).to_contain_text("encoder_hidden_states")
    home.keyboard.press("Enter")
    expect(home.locator(".story h3")).to_have_text("The text")


def test_search_finds_every_input_and_the_attentions(home):
    for name in ("sample", "timestep", "out_sample"):
        home.locator("#search").fill(name)
        expect(home.locator("#results")).to_contain_text(name)
    home.locator("#search").fill("prompt")
    expect(home.locator("#results")).to_contain_text("attn2/Attention")
    home.keyboard.press("Escape")


MARKDOWN = """async (text) => {
  const { markdown } = await import('/web/page/markdown.js');
  const host = document.createElement('div');
  host.append(...markdown(text));
  return host.innerHTML;
}"""


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("### `a.b`\n**x**, y", "<h4><code>a.b</code></h4><p><strong>x</strong>, y</p>"),
        ("- one\n- *two*", "<ul><li>one</li><li><em>two</em></li></ul>"),
        ("| a | b |\n|---|---|\n| `1` | 2 |", "<th>a</th>"),
        ("```\n<b>\n```", "<pre><code>&lt;b&gt;</code></pre>"),
        ("[f:1](https://example.org/f#L1)", 'href="https://example.org/f#L1"'),
        ("[f](javascript:alert(1))", "[f](javascript:alert(1))"),
        ("<img src=x onerror=alert(1)>", "&lt;img src=x onerror=alert(1)&gt;"),
    ],
)
def test_markdown_is_made_of_elements(home, text, html):
    found = home.evaluate(MARKDOWN, text)
    assert html in found
    assert "<img" not in found
    assert 'href="javascript' not in found


def test_about_renders_the_markdown_of_a_function(home):
    home.evaluate("location.hash = '#/mid_block?tab=about'")
    expect(home.locator(".doc strong")).to_have_text("mid_block")


@pytest.fixture(scope="module")
def phone(chromium, atlas):
    eyes, server = Eyes(chromium), Server(Shown((atlas,)), netron.find())
    server.start()
    eyes.size = {"width": 390, "height": 844}
    page = eyes.open(server.url, wait="map", has_touch=True)
    yield page
    for context in eyes.contexts:
        context.close()
    server.close()
    assert eyes.complaints == []


SMALL = """() => [...document.querySelectorAll(
    'button, a, input, select, summary, .map .item')]
  .filter((one) => one.checkVisibility() && !one.closest('.skip-link, [inert]'))
  .map((one) => {
    const hit = one.querySelector(':scope > .tab, :scope > .card, :scope > rect') ?? one;
    const { width, height } = hit.getBoundingClientRect();
    return [one.ariaLabel ?? one.textContent, width, height];
  })
  .filter(([, width, height]) => Math.min(width, height) < 43.5)"""
CUT = """() => [...document.querySelectorAll('.map text')].filter((one) => {
  const [a, b] = [one, one.ownerSVGElement].map((it) => it.getBoundingClientRect());
  return a.left < b.left - 1 || a.right > b.right + 1;
}).map((one) => one.textContent)"""
SIZES = """() => [...document.querySelectorAll('.map text')].map((one) =>
  parseFloat(getComputedStyle(one).fontSize) * one.getCTM().a)"""
TABS = ["ask", "about", "attention", "time", "shapes", "trace", "sample", "parity"]


@pytest.mark.parametrize("tab", TABS)
def test_on_a_phone_nothing_is_cut_or_too_small_to_hit(phone, tab):
    phone.evaluate("tab => location.hash = `#/?tab=${tab}`", tab)
    expect(phone.locator(f"#tab-{tab}")).to_have_attribute("aria-selected", "true")
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    assert phone.evaluate("document.querySelector('.work').scrollWidth") <= 390
    assert phone.evaluate(CUT) == []
    assert phone.evaluate(SMALL) == []
    assert phone.locator("#panel").inner_text().strip() != ""


def test_on_a_phone_a_skip_is_followed_by_touch(phone):
    phone.evaluate("location.hash = '#/'")
    phone.locator('.map [data-skip="1"] .tab').tap()
    expect(phone.locator(".story h3")).to_have_text("Skip 1")
    phone.get_by_role("button", name="next stop").tap()
    expect(phone.locator(".map .skip.lit")).to_have_count(1)
    phone.get_by_role("button", name="end the story").tap()
    expect(phone.locator(".story")).to_have_count(0)


@pytest.mark.parametrize("width", [390, 1024, 1440])
def test_text_on_the_map_keeps_its_size(phone, width):
    for at, height in ((width, 900), (390, 844)):
        phone.set_viewport_size({"width": at, "height": height})
        phone.wait_for_function(
            "() => { const map = document.querySelector('svg.map'); return Math.abs("
            "map.getBoundingClientRect().width / map.viewBox.baseVal.width - 1) < 0.05; }"
        )
        assert min(phone.evaluate(SIZES)) >= 11.4


def test_what_is_wrong_on_a_phone_is_caught(phone):
    def broken(place, name, value, measure):
        """Breaks and measures in one go: a map drawn again in between would hide it."""
        act = "([place, name, value]) => { document.querySelector(place).style[name] = value;"
        return phone.evaluate(f"{act} return ({measure})(); }}", [place, name, value])

    assert min(broken(".map .word", "fontSize", "8px", SIZES)) < 11.4
    assert len(broken(".question", "minHeight", "20px", SMALL)) == 1
    assert len(broken(".map .name", "fontSize", "90px", CUT)) == 1
    phone.reload()
    phone.wait_for_selector("html[data-ready]")


def test_what_fp16_loses_is_told_by_size_and_by_module(eyes, serve, atlas):
    case = {
        "name": "B1H8W8S7T0",
        "floor": {"ratio": 0.5, "max_abs": 4e-3, "ort_max_abs": 2e-3},
    }
    parity = {"dtype": "fp16", "verdict": "passed", "cases": [case]}
    report = {"parity": parity, "location": {"finding": None, "compared": 76, "keep_fp32": []}}
    page = eyes.open(serve(atlas, report=report).url + "#/?tab=ask&ask=precision", wait="map")
    answer = page.locator(".answer")
    expect(answer).to_contain_text("at most 0.5 times as far from the truth as PyTorch")
    expect(answer).to_contain_text("Module by module, nothing departs in 76 comparisons.")
    expect(answer.locator("tbody td")).to_have_text(["B1H8W8S7T0", "2.0e-3", "4.0e-3"])
    expect(answer.locator(".command")).to_have_count(0)


def test_measured_time_tints_the_map(eyes, tiny, atlas):
    profile = {
        "wall": 3000, "total": 2000, "attributed": 1.0, "provider": "cpu", "sizes": {"B": 1},
        "inclusive": {"": 2000, "mid_block": 1500, "up_blocks.0": 300},
    }  # fmt: skip
    server = Server(Shown((atlas,), profile=profile), netron.find())
    server.start()
    page = eyes.open(f"{server.url}#/?ask=duration&tab=ask", wait="map")
    answer = page.locator(".answer")
    expect(answer).to_contain_text("One step takes 3 ms on cpu at B=1")
    expect(answer).to_contain_text("mid_block takes the longest: 1.5 ms, 75.0 % of the time")
    hot = page.locator(".map .block[data-heat]")
    expect(hot).to_have_count(2)
    assert hot.first.evaluate("one => one.style.getPropertyValue('--severity')") == "1.000"
    server.close()


def test_checkpoints_are_told_apart_by_how_far_weights_moved(eyes, serve, atlas, tmp_path):
    (tmp_path / "b").mkdir()
    other = build(tmp_path / "b" / "tiny.onnx")
    data = other.with_suffix(".data")
    content = bytearray(data.read_bytes())
    target = atlas.tree.by_path["mid_block/resnets.0/conv1"].weights[0]
    content[target.offset + 3] ^= 0x80  # the sign of its first number
    data.write_bytes(content)
    page = eyes.open(serve(atlas, read(other)).url + "#/?ask=differ&tab=ask", wait="map")
    expect(page.locator(".map-title")).to_contain_text(["/tiny.onnx", "b/tiny.onnx"])
    expect(page.locator(".model small").nth(1)).to_have_text("b/tiny.onnx")
    page.get_by_role("button", name="Compare the weights too").click()
    expect(page.locator(".answer")).to_contain_text("1 weight differs")
    expect(page.locator(".answer tbody tr").first).to_contain_text("mid_block")
    page.get_by_role("tab", name="Compare").click()
    row = page.locator("table.moved tbody tr")
    expect(row).to_contain_text("mid_block.resnets.0.conv1.weight")
    expect(row).to_contain_text("[0, 0, 0, 0]")
    expect(page.locator(".map-box.current .block[data-moved]")).not_to_have_count(0)


def test_a_file_without_a_u_says_so(eyes, serve, tmp_path):
    import onnx
    from onnx import TensorProto, helper

    shape = [1, 4]
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"], name="only")],
        "plain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
    )
    path = tmp_path / "plain.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), path)
    page = eyes.open(serve(read(path)).url, wait="map")
    expect(page.locator(".no-u h2")).to_have_text("No U was found in this file")
    expect(page.locator(".no-u")).to_contain_text("1 operator, unknown parameters")
    for name in ANSWERS:
        page.evaluate("id => location.hash = `#/?ask=${id}&tab=ask`", name)
        expect(page.locator(".answer")).not_to_be_empty()
    page.get_by_role("button", name="Show its graph").click()
    expect(page.locator(".right")).to_be_visible()


def test_the_bundle_tells_stories_too(eyes, atlas, tmp_path):
    from viewer.serve import offline

    target = tmp_path / "page.html"
    offline.write(Shown((atlas,)), target)
    page = eyes.open(f"{target.as_uri()}#/?story=text&stop=1&tab=ask", wait="map")
    expect(page.locator(".story-say")).to_contain_text("1 cross-attention")
    assert json.loads(page.locator("#shown").text_content())["profile"] is None


def test_a_link_to_a_wide_panel_draws_the_map_for_what_is_left(eyes, serve, atlas):
    page = eyes.open(serve(atlas).url + "#/?tab=sample", wait="map")
    page.wait_for_function(
        "() => { const map = document.querySelector('svg.map'); return Math.abs("
        "map.getBoundingClientRect().width / map.viewBox.baseVal.width - 1) < 0.02; }"
    )
