import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from exporter.parity.subject import Subject
from exporter.source import load_source
from exporter.types import Source


@pytest.fixture(scope="session")
def tiny_source(tiny_pipeline: Path) -> Source:
    return load_source(str(tiny_pipeline))


@pytest.fixture(scope="session")
def tiny_subject(tiny_source: Source) -> Subject:
    return Subject(tiny_source, provider="cpu")


class _Plain(torch.nn.Module):
    def __init__(self, unet: torch.nn.Module) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, sample: Any, timestep: Any, text: Any) -> Any:
        return self.unet(sample, timestep, text, return_dict=False)[0]


@pytest.fixture(scope="session")
def foreign(tmp_path_factory: pytest.TempPathFactory, make_unet: Any) -> Path:
    """The same UNet by torch's TorchScript exporter, as scripts all over write it."""
    target = tmp_path_factory.mktemp("foreign") / "model.onnx"
    example = torch.zeros(2, 4, 16, 16), torch.tensor([1], dtype=torch.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of every Python number it freezes
        torch.onnx.export(
            _Plain(make_unet()),
            (*example, torch.zeros(2, 7, 48)),
            str(target),
            dynamo=False,
            opset_version=17,
            input_names=["sample", "timestep", "encoder_hidden_states"],
            output_names=["out_sample"],
            dynamic_axes={
                "sample": {0: "batch", 2: "height", 3: "width"},
                "encoder_hidden_states": {0: "batch", 1: "sequence"},
            },
        )
    return target
