"""What is measured in the graph, against hooks on the diffusers model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch

from exporter.call import call
from exporter.errors import UsageError
from exporter.parity.ask import loaded
from exporter.parity.cases import ParityCase
from exporter.parity.inputs import make_inputs
from exporter.parity.subject import Subject
from exporter.runtime.session import open_session
from exporter.sample.find import find_points
from exporter.sample.instrument import Instrumented, instrument
from exporter.source import load_source
from tests.exporter.sample.probe import Found, listening

CASE = ParityCase(2, 19, 14, 9, 321.0)


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


def rms(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    return tensor.double().flatten(1).square().mean(1).numpy()


def test_watching_changes_no_bit_of_the_prediction(path: Path) -> None:
    watched = instrument(path)
    plain, seen = run(path), run(path, watched.content)
    assert plain["out_sample"].tobytes() == seen["out_sample"].tobytes()
    assert len(seen) > 100


def test_every_measurement_equals_pytorch(path: Path) -> None:
    watched = instrument(path)
    seen = run(path, watched.content)
    source = load_source(MODELS[path])
    with loaded(Subject(source)) as unet, listening(unet, watched.points) as found:
        call(unet, make_inputs(CASE, source, "fp32"))
    _check_blocks(watched, seen, found)
    _check_pairs(watched, seen, found)
    _check_attentions(watched, seen, found)


def _check_blocks(watched: Instrumented, seen: Mapping[str, Any], found: Found) -> None:
    for index, block in enumerate(watched.points.blocks):
        x = found["out", block.module].flatten(1)
        expected = torch.stack([x.mean(1), x.square().mean(1), x.amin(1), x.amax(1)])
        actual = seen[f"watch.block.{index}"]
        np.testing.assert_allclose(actual, expected, 1e-4, 1e-5, err_msg=block.module)


def _check_pairs(watched: Instrumented, seen: Mapping[str, Any], found: Found) -> None:
    points = watched.points
    for index, residual in enumerate(points.residuals):
        trunk = found["trunk", residual.module]
        result = found["out", residual.module]
        branch = result - trunk if residual.role == "transformer" else None
        branch = found["branch", residual.module] if branch is None else branch
        actual = seen[f"watch.residual.{index}"]
        expected = [rms(branch), rms(trunk)]
        np.testing.assert_allclose(actual, expected, 1e-4, 1e-6, err_msg=residual.module)
    for index, injection in enumerate(points.injections):
        vector, image = (found[kind, injection.module] for kind in ("vector", "image"))
        expected = [rms(vector.expand(2, -1)), rms(image)]
        np.testing.assert_allclose(seen[f"watch.injection.{index}"], expected, 1e-4)
    _check_skips(watched, seen, found)


def _check_skips(watched: Instrumented, seen: Mapping[str, Any], found: Found) -> None:
    skips = watched.points.skips
    assert [int(skip.id) for skip in skips] == sorted(range(len(skips)), reverse=True)
    joined = [f"up_blocks.{i}.resnets.{j}" for i in range(3) for j in range(2)]
    for index, (skip, resnet) in enumerate(zip(skips, joined, strict=True)):
        source = skip.source.removesuffix(".conv")
        channels = found["out", source].shape[1]
        both = found["joined", resnet]
        expected = [rms(both[:, -channels:]), rms(both[:, :-channels])]
        np.testing.assert_allclose(seen[f"watch.skip.{index}"], expected, 1e-4, err_msg=resnet)
        np.testing.assert_allclose(expected[0], rms(found["out", source]), 1e-5)


def _check_attentions(watched: Instrumented, seen: Mapping[str, Any], found: Found) -> None:
    assert watched.points.attentions
    for index, attention in enumerate(watched.points.attentions):
        heads = found["heads", attention.module].double()
        entropy = -(heads * heads.log()).sum(-1).mean((1, 2))
        maps = seen[f"watch.map.{index}"]
        np.testing.assert_allclose(maps, found["map", attention.module], 1e-3, 1e-6)
        np.testing.assert_allclose(maps.sum(1), 1, 1e-5)
        np.testing.assert_allclose(seen[f"watch.entropy.{index}"], entropy, 1e-4)


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
