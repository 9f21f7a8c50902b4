"""What the viewer says is known: random weights, fixed sizes, costs not all counted."""

from __future__ import annotations

import onnx
import pytest

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


def test_an_operator_that_is_not_counted_is_said(tmp_path, atlas):
    def swap(model):
        for function in model.functions:
            for node in function.node:
                node.op_type = {"Sigmoid": "Celu"}.get(node.op_type, node.op_type)

    assert atlas.to_json()["uncounted"] == 0
    assert load(changed(tmp_path, swap)).to_json()["uncounted"] > 0


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
