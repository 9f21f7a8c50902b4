"""What is measured in the graph, against hooks on the diffusers model."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import onnx_ir as ir
import pytest
import torch

from exporter.call import call
from exporter.errors import UsageError
from exporter.parity.ask import loaded
from exporter.parity.cases import ParityCase
from exporter.parity.inputs import make_inputs
from exporter.parity.precision import ComputeIn
from exporter.parity.subject import Subject
from exporter.runtime.session import open_session
from exporter.sample.find import find_points
from exporter.sample.instrument import instrument
from exporter.sample.points import Points
from exporter.source import load_source
from tests.exporter.sample.probe import Found, listening
from tests.floors import Floors

CASE = ParityCase(2, 19, 14, 9, 321.0)
KINDS = {"block", "residual", "injection", "skip", "map", "entropy", "self"}


def run(path: Path, content: bytes | None = None) -> dict[str, Any]:
    source = load_source(MODELS[path])
    inputs = make_inputs(CASE, source, "fp32")
    session = open_session(content or path, "cpu", weights_folder=path.parent)
    return session.run(inputs)


MODELS: dict[Path, str] = {}


@pytest.fixture(params=["folded", "flat", "decomposed", "xl"])
def path(request: Any, exported: Any, whole_pipeline: Path, whole_xl_pipeline: Path) -> Path:
    """One UNet in every shape in which it is written."""
    model = str(whole_xl_pipeline if request.param == "xl" else whole_pipeline)
    options = {"flat": {"flat": True}, "decomposed": {"opset": 20}}.get(request.param, {})
    found: Path = exported(model, **options)
    MODELS[found] = model
    return found


def rms(tensor: torch.Tensor) -> torch.Tensor:
    """The mean square, a number a sample."""
    return tensor.double().flatten(1).square().mean(1)


def test_watching_changes_no_bit_of_the_prediction(path: Path) -> None:
    watched = instrument(path, selves=lambda _: True)
    plain, seen = run(path), run(path, watched.content)
    assert plain["out_sample"].tobytes() == seen["out_sample"].tobytes()
    assert len(seen) > 100


def test_every_measurement_equals_pytorch(path: Path, floors: Floors) -> None:
    watched = instrument(path, selves=lambda _: True)
    seen = run(path, watched.content)
    source = load_source(MODELS[path])
    fed = make_inputs(CASE, source, "fp32")  # outside of any mode, which would draw others
    runs = []
    with loaded(Subject(source)) as unet:
        for mode in (nullcontext(), ComputeIn(torch.float64)):
            with mode, listening(unet, watched.points) as found:
                call(unet, fed)
            runs.append(_expected(watched.points, found))
    theirs, truth = runs
    assert {name.split(".")[1] for name in truth} == KINDS
    for kind in KINDS:
        names = [name for name in truth if name.split(".")[1] == kind]
        ours = [seen[name] for name in names]
        floors.check_each(ours, [theirs[n] for n in names], [truth[n] for n in names], 10)
    for name in (f"watch.self.{index}" for index in range(len(watched.selves))):
        looks = truth[name].numpy()
        assert abs(seen[name] - looks).max() < 1e-5
        assert abs(seen[name].swapaxes(1, 2) - looks).max() > 1e-3  # who looks, and at whom


def _expected(points: Points, found: Found) -> dict[str, torch.Tensor]:
    """What the graph's outputs of these names should be, from the tensors of a hooked run."""
    expected = {}
    for index, block in enumerate(points.blocks):
        x = found["out", block.module].double().flatten(1)
        parts = [x.mean(1), x.square().mean(1), x.amin(1), x.amax(1)]
        expected[f"watch.block.{index}"] = torch.stack(parts)
    for index, residual in enumerate(points.residuals):
        trunk = found["trunk", residual.module]
        if residual.role == "transformer":
            branch = found["out", residual.module] - trunk
        else:
            branch = found["branch", residual.module]
        expected[f"watch.residual.{index}"] = torch.stack([rms(branch), rms(trunk)])
    for index, injection in enumerate(points.injections):
        vector, image = (found[kind, injection.module] for kind in ("vector", "image"))
        expected[f"watch.injection.{index}"] = torch.stack(
            [rms(vector.expand(2, -1)), rms(image)]
        )
    expected |= _expected_skips(points, found)
    for index, attention in enumerate(points.attentions):
        heads = found["heads", attention.module].double()
        expected[f"watch.map.{index}"] = found["map", attention.module]
        entropy = -(heads * heads.log()).sum(-1).mean((1, 2))
        expected[f"watch.entropy.{index}"] = entropy
    for index, attention in enumerate(points.selves):
        q, k = (
            found[kind, attention.module].unflatten(-1, (attention.heads, -1)).transpose(1, 2)
            for kind in ("to_q", "to_k")
        )
        scores = q @ k.mT / q.shape[-1] ** 0.5
        expected[f"watch.self.{index}"] = scores.softmax(-1).mean(1)
    return expected


def _expected_skips(points: Points, found: Found) -> dict[str, torch.Tensor]:
    skips = points.skips
    assert [int(skip.id) for skip in skips] == sorted(range(len(skips)), reverse=True)
    joined = [f"up_blocks.{i}.resnets.{j}" for i in range(3) for j in range(2)]
    expected = {}
    for index, (skip, resnet) in enumerate(zip(skips, joined, strict=True)):
        source = skip.source.removesuffix(".conv")
        channels, both = found["out", source].shape[1], found["joined", resnet]
        assert torch.equal(both[:, -channels:], found["out", source])
        parts = [rms(both[:, -channels:]), rms(both[:, :-channels])]
        expected[f"watch.skip.{index}"] = torch.stack(parts)
    return expected


def test_the_same_points_in_every_form(exported: Any, whole_pipeline: Path) -> None:
    forms = ({}, {"flat": True}, {"opset": 20})
    found = [find_points(ir.load(exported(str(whole_pipeline), **form))) for form in forms]
    modules = [[block.module for block in points.blocks] for points in found]
    assert modules[0] == modules[1] == modules[2]
    assert found[0].residuals == found[1].residuals == found[2].residuals
    assert found[0].skips == found[1].skips


def test_without_maps_entropies_stay(folded: Path, whole_pipeline: Path) -> None:
    MODELS[folded] = str(whole_pipeline)
    seen = run(folded, instrument(folded, maps=False).content)
    assert "watch.entropy.0" in seen
    assert not any(name.startswith("watch.map") for name in seen)


def test_a_file_without_annotations_is_refused(folded: Path, tmp_path: Path) -> None:
    model = ir.load(folded)
    model.metadata_props.clear()
    bare = tmp_path / "bare.onnx"
    bare.write_bytes(ir.to_proto(model).SerializeToString())
    with pytest.raises(UsageError, match="no atlas annotations"):
        instrument(bare)
