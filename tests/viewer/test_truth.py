"""What the viewer says is known: random weights, fixed sizes, costs not all counted."""

from __future__ import annotations

import re

import onnx
import pytest
from playwright.sync_api import expect

from tests.viewer.tiny import build
from viewer import cli, load

NOTE = "random weights"


@pytest.mark.parametrize(
    ("option", "name"),
    [("--graphviz", "u.dot"), ("--model-explorer", "u.json"), ("--html", "u.html")],
)
def test_every_file_says_that_weights_are_random(tiny, tmp_path, option, name):
    target = tmp_path / name
    assert cli.main([str(tiny), option, str(target)]) == 0
    assert NOTE in target.read_text()


def test_tensorboard_says_it_too(tiny, tmp_path):
    assert cli.main([str(tiny), "--tensorboard", str(tmp_path)]) == 0
    (written,) = tmp_path.rglob("events*")
    assert NOTE.encode() in written.read_bytes()


def test_figures_of_the_page_and_its_bar_say_it(eyes, serve, atlas, tiny, tmp_path):
    target = tmp_path / "u.svg"
    assert cli.main([str(tiny), "--svg", str(target)]) == 0
    assert NOTE in target.read_text()
    page = eyes.open(serve(atlas).url)
    assert NOTE in page.locator(".bar").inner_text()


def test_trained_weights_are_not_called_random(tmp_path):
    path = changed(tmp_path, lambda model: drop(model, "atlas.weights"))
    target = tmp_path / "u.dot"
    assert cli.main([str(path), "--graphviz", str(target)]) == 0
    assert NOTE not in target.read_text()


def test_a_file_of_a_fixed_size_is_counted_at_that_size(tmp_path):
    def fix(model):
        for dim in model.graph.input[0].type.tensor_type.shape.dim[2:]:
            dim.dim_value = 24

    nominal = load(changed(tmp_path, fix)).nominal
    assert (nominal.height, nominal.width) == (24, 24)


def uncounted(folder):
    def swap(model):
        for function in model.functions:
            for node in function.node:
                node.op_type = {"Sigmoid": "Celu"}.get(node.op_type, node.op_type)

    return load(changed(folder, swap))


def test_an_operator_that_is_not_counted_is_said(tmp_path, atlas):
    assert atlas.to_json()["uncounted"] == 0
    found = uncounted(tmp_path)
    leaves = [node for node in found.tree.leaves if node.flops is None]
    assert found.to_json()["uncounted"] == len(leaves) > 0
    for node in found.tree.nodes:
        assert (node.uncounted > 0) == any(
            leaf.path.startswith(f"{node.path}/") or leaf is node for leaf in leaves
        )


PLACES = (
    *(f"tab={tab}" for tab in ("about", "shapes", "compare")),
    "node",
    *(f"tab=ask&ask={ask}" for ask in ("attend", "duration", "holds")),
)
LEAST = re.compile("at least|counted|not all known|no FLOPs count")
ALONE = re.compile(r"[\d.]+ [A-Za-z]?FLOPs")
SAID = """() => [...document.querySelectorAll('body *')]
    .filter(one => /FLOPs/.test(one.textContent) && /\\d/.test(one.textContent))
    .filter(one => ![...one.children].some(inside => /FLOPs/.test(inside.textContent)))
    .map(one => one.textContent)
    .concat([...document.querySelectorAll('[aria-label], [title]')]
        .flatMap(one => ['aria-label', 'title'].map(name => one.getAttribute(name)))
        .filter(text => /\\d.*FLOPs|FLOPs not/.test(text)))"""


def flops_said(page, resnet):
    """Every innermost text with a number of FLOPs, by place."""
    said = {}
    for place in PLACES:
        way = f"select={resnet}&tab=about" if place == "node" else place
        page.evaluate("way => { location.hash = `#/?${way}`; }", way)
        page.wait_for_timeout(300)
        said[place] = page.evaluate(SAID)
    page.locator(".map .block").nth(1).hover()
    said["tip"] = [page.locator(".tip").inner_text()]
    return said


def test_every_text_of_flops_says_that_it_is_a_lower_bound(eyes, serve, tmp_path, atlas):
    found = uncounted(tmp_path)
    resnet = next(node.path for node in found.tree.nodes if node.role == "resnet")
    for one, least in ((atlas, False), (found, True)):
        page = eyes.open(serve(one, one).url)
        said = flops_said(page, resnet)
        page.evaluate("location.hash = '#/?tab=shapes'")
        column = page.locator("th", has_text="FLOPs").last
        expect(column).to_have_text("counted FLOPs" if least else "FLOPs")
        page.evaluate("location.hash = '#/?tab=ask&ask=holds'")
        expect(page.locator("th", has_text="FLOPs")).to_have_count(1)
        whole = [
            text for text in page.locator("td").all_inner_texts() if ALONE.fullmatch(text)
        ]
        nodes = one.tree.nodes
        known = [not any(nodes[i].uncounted for i in block.nodes) for block in one.blocks]
        assert len(whole) == sum(known)  # the table tells block from block
        (most,) = (text for text in said["tab=ask&ask=holds"] if "costs the most" in text)
        assert least == ("of at least" in most)
        for place, texts in said.items():
            assert texts, place
            for text in texts:
                assert text in whole or bool(LEAST.search(text)) == least, (place, text)


def test_a_file_without_a_u_and_a_collection_say_it_too(eyes, serve, tmp_path):
    nodes = [
        onnx.helper.make_node("MatMul", ["x", "x"], ["y"]),
        onnx.helper.make_node("Celu", ["y"], ["z"]),
    ]
    ends = [onnx.helper.make_tensor_value_info(name, 1, [3, 3]) for name in "xyz"]
    graph = onnx.helper.make_graph(nodes, "g", ends[:1], ends[2:], value_info=ends[1:2])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "plain.onnx")
    page = eyes.open(serve(load(tmp_path / "plain.onnx")).url)
    text = page.locator(".no-u").inner_text()
    assert "at least 54 FLOPs a step" in text, text
    found, written = uncounted(tmp_path), tmp_path / "u.json"
    assert cli.main([str(found.file.path), "--model-explorer", str(written)]) == 0
    group = next(node for node in found.tree.nodes if node.role == "resnet")
    assert f'"at least {group.flops}"' in written.read_text()


def changed(folder, change):
    path = build(folder / "unet.onnx")
    model = onnx.load(path, load_external_data=False)
    change(model)
    path.write_bytes(model.SerializeToString())
    return path


def drop(model, key):
    kept = [entry for entry in model.metadata_props if entry.key != key]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)


UNDER = """() => [...document.querySelectorAll('.map g:has(> .track)')].filter((foot) => {
  const [bar, text] = ['.track', '.cost'].map((it) => foot.querySelector(it).getBBox());
  return bar.x + bar.width > text.x;
}).length"""


def test_no_bar_lies_under_its_text(eyes, serve, tmp_path):
    page = eyes.open(serve(uncounted(tmp_path)).url, wait="map")
    expect(page.locator(".map .cost", has_text="counted FLOPs")).not_to_have_count(0)
    for width in (1280, 1440, 1560, 1640, 1760, 1920):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_function(
            "() => { const map = document.querySelector('svg.map'); return Math.abs("
            "map.getBoundingClientRect().width / map.viewBox.baseVal.width - 1) < 0.05; }"
        )
        assert page.evaluate(UNDER) == 0, width
    wide = "document.querySelector('.map .track').setAttribute('width', 200)"
    assert page.evaluate(f"() => {{ {wide}; return ({UNDER})(); }}") == 1
