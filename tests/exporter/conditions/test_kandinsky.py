"""Embeddings of an image, and hints, that Kandinsky's configs ask for: none is ignored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx_ir as ir
import pytest

from exporter.errors import ConfigError
from exporter.inputs import model_inputs
from exporter.parity.cases import ParityCase
from exporter.parity.check import check
from exporter.parity.conditions import conditions
from exporter.parity.locate import locate
from exporter.parity.subject import Subject
from exporter.source import load_source
from tests.exporter.conftest import ARCHITECTURES
from tests.exporter.parity import edits

KINDS: dict[str, dict[str, Any]] = {
    "2.1": {"addition_embed_type": "text_image", "encoder_hid_dim_type": "text_image_proj"},
    "2.2 with a hint": {
        "addition_embed_type": "image_hint",
        "encoder_hid_dim_type": "image_proj",
        "in_channels": 8,
    },
}
INPUTS = {
    "2.1": {
        "sample": 4,
        "encoder_hidden_states": 24,
        "text_embeds": 16,
        "image_embeds": 16,
    },
    "2.2 with a hint": {"sample": 4, "image_embeds": 24, "hint": 3},
}


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def path(workshop: Any, tmp_path_factory: pytest.TempPathFactory, kind: str) -> Path:
    root = tmp_path_factory.mktemp("kandinsky") / "pipeline"
    config = {**ARCHITECTURES["added-kv"], "layers_per_block": 1, **KINDS[kind]}
    workshop.save(root / "unet", **config)
    workshop.export(root / "unet.onnx", root)
    return root / "unet.onnx"


@pytest.fixture(scope="module")
def subject(path: Path) -> Subject:
    return Subject(load_source(str(path.parent)), "fp32", provider="cpu")


def case(subject: Subject) -> ParityCase:
    batch = 1 + len(conditions(subject.source))
    return ParityCase(batch, 8, 8, 5, 500.0, per_sample=True, contrast=True)


def test_every_condition_is_proven_by_itself(path: Path, subject: Subject, kind: str) -> None:
    widths = {
        spec.name: spec.shape[1] if len(spec.shape) == 4 else spec.shape[-1]
        for spec in subject.source.inputs
        if spec.name != "timestep"
    }
    assert widths == INPUTS[kind]
    report = check(path, subject, cases=[ParityCase(1, 34, 36, 5, 20.5), case(subject)])
    assert [one.verdict for one in report.cases if not one.passed] == []
    told = {part.condition for part in report.cases[1].differences}
    assert {"image embedding", "hint" if "hint" in widths else "pooled text"} <= told


def test_an_ignored_image_fails_and_is_named(path: Path, subject: Subject) -> None:
    def ignore(model: ir.Model) -> None:
        edits.change_graph_input(
            model, "image_embeds", lambda op, value: op("Sub", value, value)
        )

    wrong = edits.inject(path, path.with_name("wrong.onnx"), ignore)
    assert not check(wrong, subject, cases=[case(subject)]).passed
    finding = locate(wrong, subject, case(subject)).finding
    assert finding is not None
    assert finding.module.startswith(("add_embedding", "encoder_hid_proj"))


def test_two_widths_of_one_embedding_are_refused() -> None:
    config = {
        "addition_embed_type": "image",
        "encoder_hid_dim_type": "text_image_proj",
        "encoder_hid_dim": 24,
        "cross_attention_dim": 16,
        "in_channels": 4,
        "class_embed_type": None,
        "num_class_embeds": None,
    }
    with pytest.raises(ConfigError, match=r"image_embeds are asked for in the widths"):
        model_inputs("UNet2DConditionModel", config)
