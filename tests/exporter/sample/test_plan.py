"""What the loop feeds a UNet besides latents and text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from exporter.denoising.conditions import guidance_embedding
from exporter.denoising.loop import denoise
from exporter.denoising.schedulers import load_scheduler
from exporter.errors import UsageError
from exporter.sample.model import Model, read_model
from exporter.sample.plan import Plan
from exporter.sample.prompts import Wanted, seeded
from tests.viewer.tiny import build


def plan(rows: tuple[str, ...] = ("uncond", "cond"), channels: int = 4, **inputs: Any) -> Plan:
    shapes = {"sample": ("B", channels, "H", "W"), "timestep": ("T",), **inputs}
    config = {"out_channels": 4}
    model = Model(Path("x.onnx"), "x", "UNet2DConditionModel", config, 1, shapes, {})
    scheduler = load_scheduler("ddim", 3, class_name=model.class_name)
    prompt = seeded(Wanted(8, None, rows), 0)
    return Plan(model, scheduler, rows, 3.0, 8, 16, prompt, 7)


def fed(wanted: Plan) -> list[dict[str, torch.Tensor]]:
    found: list[dict[str, torch.Tensor]] = []

    def predict(inputs: Any) -> torch.Tensor:
        found.append(dict(inputs))
        return torch.zeros(len(wanted.rows), 4, 8, 16)

    list(denoise(wanted.loop, predict))
    return found


def test_size_conditions_of_sdxl_and_of_its_refiner() -> None:
    found = plan(time_ids=("B", 6)).conditions()["time_ids"]
    np.testing.assert_array_equal(found, [[64, 128, 0, 0, 64, 128]] * 2)
    found = plan(time_ids=("B", 5)).conditions()["time_ids"]
    np.testing.assert_array_equal(found[:, 4], [2.5, 6.0])


def test_class_labels() -> None:
    assert plan(class_labels=("B",)).conditions()["class_labels"].shape == (2,)
    assert plan(class_labels=("B", 12)).conditions()["class_labels"].shape == (2, 12)


def test_guidance_embedding_is_that_of_diffusers() -> None:
    from diffusers import LatentConsistencyModelPipeline as Pipeline

    theirs = Pipeline.get_guidance_scale_embedding(
        None,  # type: ignore[arg-type]
        torch.tensor([7.5]),
        embedding_dim=256,
    )
    torch.testing.assert_close(
        guidance_embedding(torch.tensor([8.5]), 256), theirs, rtol=0, atol=1e-3
    )


def test_inpainting_gets_a_mask_of_everything() -> None:
    sample = fed(plan(channels=9))[0]["sample"]
    assert sample.shape == (2, 9, 8, 16)
    assert sample[:, 4].eq(1).all()
    assert sample[:, 5:].eq(0).all()


def test_a_plan_can_run_twice() -> None:
    wanted = plan()
    first, second = fed(wanted), fed(wanted)
    assert len(first) == wanted.loop.evaluations == 3
    for one, other in zip(first, second, strict=True):
        torch.testing.assert_close(one["sample"], other["sample"], rtol=0, atol=0)
        assert one["timestep"].shape == (1,)


def test_guidance_weighs_the_two_halves() -> None:
    wanted = plan()

    def predict(inputs: Any) -> torch.Tensor:
        return torch.stack([torch.full((4, 8, 16), 1.0), torch.full((4, 8, 16), 2.0)])

    ours = [step.latents for step in denoise(wanted.loop, predict)]
    alone = plan(rows=("cond",))
    both = [s.latents for s in denoise(alone.loop, lambda _: torch.full((1, 4, 8, 16), 4.0))]
    torch.testing.assert_close(ours, both)  # 1 + 3 * (2 - 1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda graph: graph.ClearField("input"), "takes no sample of known channels"),
        (
            lambda graph: graph.input[0].type.tensor_type.shape.dim[1].ClearField("dim_value"),
            "takes no sample of known channels",
        ),
        (
            lambda graph: graph.input[2].type.tensor_type.shape.dim[2].ClearField("dim_value"),
            "does not say how wide encoder_hidden_states is",
        ),
    ],
    ids=["no inputs", "no channels", "no width"],
)
def test_a_file_of_other_inputs_is_one_line(change: Any, said: str, tmp_path: Path) -> None:
    path = build(tmp_path / "x.onnx")
    model = onnx.load(path, load_external_data=False)
    assert [value.name for value in model.graph.input[::2]] == [
        "sample",
        "encoder_hidden_states",
    ]
    change(model.graph)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(UsageError, match=said):
        read_model(path).width("encoder_hidden_states")


@pytest.mark.parametrize("told", [None, "4", 0, -1, 1.5, []])
def test_output_channels_that_are_no_number_are_those_of_the_input(told: Any) -> None:
    assert replace(plan().model, config={"out_channels": told}).latent_channels == 4
