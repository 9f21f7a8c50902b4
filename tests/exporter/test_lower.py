"""The lowered graph: weights as inputs, named shapes, origins."""

import onnx_ir as ir
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from exporter import lower as lowering
from exporter import metadata as meta
from exporter.errors import GraphError
from exporter.lower import lower
from exporter.types import InputSpec, Program
from exporter.values import dims
from exporter.weights.unet import build_unet

SPECS = (InputSpec("image", (2, 3)), InputSpec("label", (2, 3)))


@pytest.fixture
def model(workshop):
    return workshop.lowered("micro")


def test_inputs_come_first_and_parameters_after(model, workshop):
    names = [value.name for value in model.graph.inputs]
    specs = workshop.source("micro").inputs
    assert names[: len(specs)] == [spec.name for spec in specs]
    assert [dims(v) for v in model.graph.inputs[: len(specs)]] == [s.shape for s in specs]
    parameters = dict(build_unet(workshop.source("micro")).named_parameters())
    assert set(names[len(specs) :]) <= set(parameters)
    for value in model.graph.inputs[len(specs) :]:
        assert dims(value) == tuple(parameters[value.name].shape)
        assert value.dtype == ir.DataType.FLOAT
        assert value.const_value is None


def test_there_is_one_output(model):
    (output,) = model.graph.outputs
    assert output.name == "out_sample"
    assert dims(output) == ("B", 4, "H", "W")


@pytest.mark.parametrize("opset", [20, 24])
def test_the_opset_is_the_one_asked_for(workshop, opset):
    model = workshop.lowered("micro", opset)
    assert model.opset_imports[""] == opset
    kinds = {node.op_type for node in model.graph}
    assert ("Attention" in kinds) == (opset == 24)


def test_nodes_know_their_module_and_line(model, workshop):
    modules = dict(build_unet(workshop.source("micro")).named_modules())
    known = [node.metadata_props for node in model.graph if node.metadata_props]
    assert len(known) > 0.5 * model.graph.num_nodes()
    for props in known:
        assert props[meta.MODULE] in modules
        assert props.get(meta.SOURCE, "diffusers/").startswith("diffusers/")
        assert not any(key.startswith("pkg.torch") for key in props)


def test_an_operator_without_translation_is_one_line(workshop, monkeypatch):
    def refuse(*_, **__):
        raise torch.onnx.OnnxExporterError("no decomposition") from KeyError("aten.unheard_of")

    monkeypatch.setattr(torch.onnx, "export", refuse)
    with pytest.raises(GraphError, match=r"aten\.unheard_of") as caught:
        lower(workshop.program("micro"), 24)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def constants(workshop):
    """An architecture with a random parameter, lifted constants and a decomposed operator."""
    return workshop.lowered("skip-images"), workshop.source("skip-images")


def test_constants_of_a_module_keep_their_values(constants):
    """``register_buffer(persistent=False)``: no checkpoint holds them."""
    model, source = constants
    stored = set(build_unet(source).state_dict())
    names = {value.name for value in model.graph.inputs}
    assert names <= stored | {spec.name for spec in source.inputs}


def test_random_parameters_are_the_checkpoints(constants):
    """``GaussianFourierProjection`` draws its weight; the checkpoint holds another."""
    model, _ = constants
    assert "time_proj.weight" in {value.name for value in model.graph.inputs}


class _Mixed(torch.nn.Module):
    def forward(self, image, label):
        return image * label


@pytest.mark.parametrize(("label", "casts"), [(torch.float32, 0), (torch.int64, 1)])
def test_operands_of_two_dtypes_are_cast(label, casts):
    """Without any, torch.onnx need not run the program in search of them."""
    operands = torch.ones(2, 3), torch.ones(2, 3, dtype=label)
    program = Program(torch.export.export(_Mixed(), operands), {}, {}, SPECS, 1)
    kinds = [node.op_type for node in lower(program, 20).graph]
    assert kinds == ["Cast"] * casts + ["Mul"]


def test_the_program_is_left_as_it_was(workshop, monkeypatch):
    """A second lowering can still fall back on decompositions."""
    program = Program(torch.export.export(_Mixed(), (torch.ones(2, 3),) * 2), {}, {}, SPECS, 1)
    lower(program, 24)
    assert type(program.exported) is torch.export.ExportedProgram
    export, asked = torch.onnx.export, []

    def picky(exported, *args, **kwargs):
        asked.append(type(exported))
        if len(asked) == 1:
            raise torch.onnx.OnnxExporterError("only its decomposition can be translated")
        return export(exported, *args, **kwargs)

    monkeypatch.setattr(torch.onnx, "export", picky)
    lower(program, 24)
    assert asked == [lowering._Functional, torch.export.ExportedProgram]


def test_the_program_is_not_run_again(workshop, monkeypatch):
    """Fails when torch keeps what ``lower`` spares it elsewhere: that would only be slow."""
    program, again = workshop.program("micro"), []
    dispatch = FakeTensorMode.dispatch

    def count(*args, **kwargs):
        again.append(args[1])
        return dispatch(*args, **kwargs)

    monkeypatch.setattr(FakeTensorMode, "dispatch", count)
    operators = sum(node.op == "call_function" for node in program.exported.graph.nodes)
    lower(program, 24)
    assert len(again) < operators / 4
    monkeypatch.setattr(lowering, "_promotes", lambda _: True)
    lower(program, 24)
    assert len(again) > operators / 2  # the search is still where it was
