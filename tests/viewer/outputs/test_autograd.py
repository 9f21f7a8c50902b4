from __future__ import annotations

import builtins
import json
from dataclasses import replace

import pytest

from viewer.errors import ModelError, TargetError
from viewer.outputs import autograd

pytestmark = pytest.mark.filterwarnings("ignore:.*distutils.*:DeprecationWarning")


@pytest.fixture(scope="module")
def annotated(atlas, make_unet):
    """The tiny atlas with the config of a UNet that diffusers can build."""
    config = dict(make_unet("tiny").config)
    values = list(atlas.tree.values)
    for value in atlas.tree.inputs:
        if values[value].name == "encoder_hidden_states":
            shape = ("B", "S", config["cross_attention_dim"])
            values[value] = replace(values[value], shape=shape)
    tree = replace(atlas.tree, values=tuple(values))
    text = json.dumps({**config, "_class_name": "UNet2DConditionModel"})
    return replace(atlas, tree=tree, metadata={"atlas.model.config": text})


def reached(tensor):
    """Leaf tensors that gradients flow to."""
    found, front, seen = [], [tensor.grad_fn], set()
    while front:
        function = front.pop()
        if function is None or function in seen:
            continue
        seen.add(function)
        if hasattr(function, "variable"):
            found.append(function.variable)
        front += [before for before, _ in function.next_functions]
    return found


def test_the_backward_graph_ends_at_the_modules_own_inputs(annotated, make_unet):
    module = "down_blocks.0.resnets.0"
    output, names = autograd.backward(annotated, module)
    wanted = {n for n, _ in make_unet("tiny").get_submodule(module).named_parameters()}
    assert set(names) == {f"{module}.{name}" for name in wanted} | {"input_tensor", "temb"}
    leaves = {id(leaf) for leaf in reached(output)}
    assert leaves == {id(tensor) for tensor in names.values()}
    assert output.device.type == "meta"


def test_torchviz_draws_it(annotated, tmp_path):
    target = autograd.write(annotated, tmp_path / "a.dot", "mid_block.resnets.0")
    source = target.read_text()
    assert "ConvolutionBackward0" in source
    assert "mid_block.resnets.0.conv1.weight" in source
    assert "temb" in source


def test_torchviz_missing_says_how_to_install_it(annotated, tmp_path, monkeypatch):
    original = builtins.__import__

    def without(name, *rest):
        if name == "torchviz":
            raise ModuleNotFoundError("No module named 'distutils'", name="distutils")
        return original(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(TargetError, match=r"distutils is missing.*pip install torchviz set"):
        autograd.write(annotated, tmp_path / "a.dot", "mid_block.resnets.0")
    assert not list(tmp_path.iterdir())


def test_a_wrong_module_is_told_the_right_ones(annotated):
    with pytest.raises(TargetError, match=r"mid_block\.resnets\.0"):
        autograd.backward(annotated, "mid_block.resnet.0")


def test_a_file_without_a_config_has_no_backward_graph(stripped):
    with pytest.raises(ModelError, match=r"no atlas\.model\.config"):
        autograd.backward(stripped, "mid_block")
