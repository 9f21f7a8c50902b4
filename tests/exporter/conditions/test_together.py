"""Every condition in one graph: all on is proven, and what is off is off beside what is on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from exporter.call import call
from exporter.conditions.controlnet import PREFIX
from exporter.conditions.controlnet import SCALE as STRENGTH
from exporter.conditions.ip_adapter import SCALE as PROMPT
from exporter.conditions.ip_adapter import is_adapter_weight
from exporter.conditions.lora import SCALE, is_lora
from exporter.conditions.residuals import BLOCKS, MIDDLE, SKIPS
from exporter.parity.cases import ParityCase
from exporter.parity.check import check
from exporter.parity.inputs import make_inputs
from exporter.parity.precision import ComputeIn
from exporter.parity.subject import Subject
from exporter.runtime.contract import read_contract
from exporter.runtime.session import Session, open_session
from exporter.source import load_source, with_controlnets
from exporter.types import Source
from exporter.weights.image_prompt import with_ip_adapters
from exporter.weights.unet import load_unet
from tests.exporter.conditions import image_prompts
from tests.exporter.conditions.test_controlnet import randomised

CASE = ParityCase(2, 9, 8, 5, 20.5, lora=2)
OFF: dict[str, Callable[[str], bool]] = {
    "controlnet": lambda name: name.startswith(STRENGTH),
    "residuals": lambda name: name.startswith((SKIPS, MIDDLE)),
    "adapter": lambda name: name.startswith(BLOCKS),
    "lora": lambda name: name == SCALE,
    "prompt": lambda name: name.startswith(PROMPT),
}
"""What is zero where a condition is off."""


@dataclass(frozen=True)
class Files:
    """A UNet plain and with everything."""

    path: Path
    source: Source
    plain: Session
    all: Session

    def inputs(self, *off: str) -> dict[str, torch.Tensor]:
        """Those where some conditions are off, the others on."""
        return {
            name: torch.zeros_like(tensor) if any(OFF[one](name) for one in off) else tensor
            for name, tensor in make_inputs(CASE, self.source, "fp32").items()
        }

    def run(self, *off: str) -> bytes:
        """``out_sample`` where some conditions are off, the others on."""
        return self.all.run(self.inputs(*off))["out_sample"].tobytes()


@pytest.fixture(scope="module")
def files(workshop: Any, tmp_path_factory: pytest.TempPathFactory) -> Files:
    root = tmp_path_factory.mktemp("together") / "micro"
    workshop.save_as(root / "unet", "micro", layers_per_block=1)
    unet = diffusers.UNet2DConditionModel.from_pretrained(root / "unet")
    randomised(unet, (4, 8, 8, 16), 3).save_pretrained(root / "net")
    net = str(root / "net")
    workshop.export(root / "plain.onnx", root)
    prompts = (image_prompts.save(unet, root, "plain"),)
    wishes = {
        "controlnets": (net,),
        "conditions": ("controlnet", "adapter"),
        "lora": "all",
        "ip_adapters": prompts,
    }
    workshop.export(root / "all.onnx", root, **wishes)
    contract = read_contract(root / "all.onnx")
    source = contract.conditioned(load_source(str(root)))
    source = with_controlnets(with_ip_adapters(source, prompts), [net])
    sessions = (open_session(root / f"{name}.onnx", "cpu") for name in ("plain", "all"))
    return Files(root / "all.onnx", source, *sessions)


def test_everything_on_is_proven(files: Files) -> None:
    cases = [CASE, replace(CASE, lora=0)]
    report = check(files.path, Subject(files.source, "fp32", provider="cpu"), cases=cases)
    assert [case.verdict for case in report.cases if not case.passed] == []


def test_everything_off_is_the_plain_graph_bit_for_bit(files: Files) -> None:
    own = {spec.name for spec in load_source(str(files.path.parent)).inputs}
    inputs = make_inputs(CASE, files.source, "fp32")
    plain = files.plain.run({name: inputs[name] for name in own})["out_sample"]
    assert files.run(*OFF) == plain.tobytes()


@pytest.mark.parametrize("pair", [*combinations(OFF, 2)], ids="+".join)
def test_each_of_a_pair_adds_something_to_the_other(
    files: Files, pair: tuple[str, str]
) -> None:
    rest = [name for name in OFF if name not in pair]
    results = {files.run(*rest), files.run(*rest, pair[0]), files.run(*rest, pair[1])}
    assert len(results | {files.run(*OFF)}) == 4


@pytest.fixture(scope="module")
def unet(files: Files) -> Any:
    return load_unet(files.source, torch.float32).eval()


@pytest.mark.parametrize("pair", [*combinations(OFF, 2)], ids="+".join)
def test_a_pair_is_what_diffusers_computes(files: Files, unet, floors, pair) -> None:
    """The two on and all others off, judged by the noise floor."""
    inputs = files.inputs(*(name for name in OFF if name not in pair))
    ours = files.all.run(inputs)["out_sample"]
    with torch.no_grad():
        theirs = call(unet, inputs)
        with ComputeIn(torch.float64):
            truth = call(unet, inputs)
    floors.check(ours, theirs, truth)


def test_a_lora_leaves_the_nets_alone(files: Files) -> None:
    names = [spec.name for spec in files.source.lora]
    assert names
    assert all(is_lora(name) and not name.startswith(PREFIX) for name in names)
    assert not any(is_adapter_weight(name) for name in names)
