"""A model that attacks whoever looks at it."""

from __future__ import annotations

import json

import onnx
import pytest
from onnx import TensorProto, helper
from playwright.sync_api import expect

from tests.browser import netron_frame
from tests.viewer.tiny import build
from viewer.model.atlas import read
from viewer.serve import offline
from viewer.serve.shown import Shown

BOMB = (
    "</script><script>window.hacked=1;alert(1)</script>"
    '<img src=x onerror="window.hacked=1;alert(2)">\'"><svg onload=alert(3)>'
    "[link](javascript:alert(4))"
)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """The tiny UNet with markup in every text it holds, and weights that point elsewhere."""
    path = build(tmp_path_factory.mktemp("hostile") / "tiny.onnx")
    model = onnx.load(path, load_external_data=False)
    for function in model.functions:
        function.doc_string = BOMB
        for node in function.node:
            spoil(node)
    for node in model.graph.node:
        spoil(node)
    model.graph.doc_string = model.doc_string = model.producer_name = BOMB
    for entry in model.metadata_props:
        if entry.key in ("atlas.model", "atlas.model.class"):
            entry.value = BOMB
        if entry.key == "atlas.model.config":
            entry.value = json.dumps({"sample_size": 16, BOMB: BOMB})
    model.metadata_props.add(key=BOMB, value=BOMB)
    tensor = TensorProto(name=BOMB, data_type=TensorProto.FLOAT, dims=[4])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../../etc/passwd")
    model.graph.initializer.append(tensor)
    model.graph.node.append(
        helper.make_node("Add", ["out_sample", BOMB], [BOMB + "y"], name=BOMB)
    )
    path.write_bytes(model.SerializeToString())
    return read(path)


def spoil(node):
    node.doc_string = BOMB
    for entry in node.metadata_props:
        if entry.key in ("atlas.class", "atlas.source"):
            entry.value = BOMB
    if node.op_type == "MatMul":
        node.name = BOMB
    if node.op_type == "Sigmoid":
        for entry in node.metadata_props:
            if entry.key == "atlas.module":
                entry.value = BOMB


def visit_everything(page):
    for tab in page.locator("[role=tab]").all():
        tab.click()
    for part in page.locator(".map .part").all()[:4]:
        part.dispatch_event("click")
    page.locator("#search").fill("script")
    page.keyboard.press("Enter")
    assert page.evaluate("window.hacked") is None
    assert page.locator("img[src=x]").count() == 0


def test_a_malicious_model_does_nothing_on_the_page(eyes, serve, hostile):
    page = eyes.open(serve(hostile).url)
    expect(page.locator(".missing")).to_contain_text("things that this file does not say")
    visit_everything(page)
    frame = netron_frame(page)
    page.evaluate("location.hash = '#/'")
    frame.locator("[id='node-name-mid_block'] .node-item-type").first.click()
    assert frame.locator("img[src=x]").count() == 0
    session = page.context.new_cdp_session(page)
    # Netron replaces window.eval, which page.evaluate would need inside its frame.
    found = session.send("Runtime.evaluate", {"expression": "frames[0].hacked === undefined"})
    assert found["result"]["value"] is True


def test_a_malicious_model_does_nothing_offline(eyes, hostile, tmp_path):
    target = tmp_path / "page.html"
    offline.write(Shown((hostile,)), target)
    page = eyes.open(target.as_uri(), wait="map")
    visit_everything(page)


def test_a_path_that_leaves_the_folder_is_told_and_not_read(serve, hostile):
    assert "../../../../etc/passwd" in hostile.file.refused
    assert any("leaves the folder" in sentence for sentence in hostile.missing)
