"""A wrong file fails the check, and the search names the module that is wrong."""

from pathlib import Path
from typing import Any

import onnx_ir as ir
import pytest
from onnx_ir.passes.common import InlinePass

from exporter.parity.cases import ParityCase
from exporter.parity.check import check
from exporter.parity.locate import locate
from exporter.parity.subject import Subject
from exporter.pipeline import export
from exporter.runtime.contract import read_contract
from exporter.source import load_source
from exporter.types import ExportRequest
from tests.exporter.parity import faults

CASE = ParityCase(1, 16, 16, 7, 261.5)

WRONG = {
    "conv bias": (
        faults.bias_by_one_percent("down_blocks.1.resnets.0.conv1", "Conv"),
        "down_blocks.1.resnets.0.conv1",
        "Conv",
    ),
    "linear bias": (
        faults.bias_by_one_percent(
            "up_blocks.1.attentions.0.transformer_blocks.0.ff.net.2", "Add"
        ),
        "up_blocks.1.attentions.0.transformer_blocks.0.ff.net.2",
        "Add",
    ),
    "time bias": (
        faults.bias_by_one_percent("time_embedding.linear_1", "Gemm"),
        "time_embedding.linear_1",
        "Gemm",
    ),
    "zeroed channel": (
        faults.zero_channel("up_blocks.2.resnets.1.conv2"),
        "up_blocks.2.resnets.1.conv2",
        "Conv",
    ),
    "swapped K and V": (
        faults.swap_key_and_value("mid_block.attentions.0.transformer_blocks.0.attn2"),
        "mid_block.attentions.0.transformer_blocks.0.attn2",
        "Attention",
    ),
    "dropped scale": (
        faults.drop_scale("down_blocks.0.attentions.0.transformer_blocks.0.attn1"),
        "down_blocks.0.attentions.0.transformer_blocks.0.attn1",
        "Attention",
    ),
    "sin and cos": (faults.flip_sin_and_cos("time_proj"), "time_proj", "Concat"),
    "skip of another level": (
        faults.skip_from_level_below("up_blocks.2", "skip_1", "skip_2"),
        "up_blocks.2",
        "Concat",
    ),
}


@pytest.mark.parametrize(("fault", "module", "operator"), WRONG.values(), ids=WRONG)
def test_a_fault_fails_and_is_named(
    folded: Path, tiny_subject: Subject, fault: faults.Fault, module: str, operator: str
) -> None:
    wrong = faults.inject(folded, folded.with_name("wrong.onnx"), fault)
    report = check(wrong, tiny_subject, cases=[CASE])
    assert not report.passed
    found = locate(wrong, tiny_subject, CASE)
    assert found.finding is not None
    assert (found.finding.module, found.finding.operator) == (module, operator)
    assert found.finding.before < 1e-4 < found.finding.after * 10
    assert found.sessions <= 3


@pytest.mark.parametrize("name", ["conv bias", "time bias", "dropped scale", "sin and cos"])
def test_it_is_named_where_a_batch_shares_one_timestep(
    folded: Path, tiny_subject: Subject, name: str
) -> None:
    """The file keeps one row of the embedding where PyTorch expands it to the batch."""
    fault, module, operator = WRONG[name]
    wrong = faults.inject(folded, folded.with_name("wrong.onnx"), fault)
    found = locate(wrong, tiny_subject, ParityCase(2, 8, 8, 7, 261.5)).finding
    assert found is not None
    assert (found.module, found.operator) == (module, operator)


def test_a_reordered_sum_passes_and_nothing_departs(
    folded: Path, tiny_subject: Subject
) -> None:
    fault = faults.reassociate_sum("mid_block.attentions.0.transformer_blocks.0")
    benign = faults.inject(folded, folded.with_name("benign.onnx"), fault)
    report = check(benign, tiny_subject, cases=[CASE])
    assert report.passed
    assert locate(benign, tiny_subject, CASE).finding is None


def test_fp16_overflow_is_found_with_the_modules_to_keep_in_fp32(
    tmp_path: Path, make_unet: Any
) -> None:
    unet = make_unet()
    resnet = unet.get_submodule("down_blocks.1.resnets.0")
    resnet.conv1.weight.mul_(2e5)  # norm2 takes the scale away again: float32 is at ease
    resnet.time_emb_proj.weight.mul_(2e5)
    unet.save_pretrained(tmp_path / "unet")
    target = tmp_path / "half.onnx"
    export(ExportRequest(target, model=str(tmp_path), dtype="fp16", check=False))
    source = load_source(str(tmp_path))
    report = check(target, Subject(source, "fp16", provider="cpu"), cases=[CASE])
    assert not report.passed
    assert "leaves the range" in report.worst.verdict  # ONNX Runtime's CPU provider hides it
    found = locate(target, Subject(source, "fp16", provider="cpu"), CASE)
    assert found.finding is not None
    assert found.finding.block == "down_blocks.1.resnets.0"
    assert found.finding.module in ("down_blocks.1.resnets.0.conv1", "down_blocks.1.resnets.0")
    assert found.finding.operands
    assert all(operand.nonfinite == 0 for operand in found.finding.operands)
    assert found.keep_fp32 == ("down_blocks.1.resnets.0",)
    kept = tmp_path / "kept.onnx"
    export(
        ExportRequest(
            kept, model=str(tmp_path), dtype="fp16", check=False, keep_fp32=found.keep_fp32
        )
    )
    assert read_contract(kept).keep_fp32 == found.keep_fp32
    report = check(kept, Subject(source, "fp16", found.keep_fp32, "cpu"), cases=[CASE])
    assert report.passed
    assert report.worst.floor is not None


def test_the_flat_form_names_the_same_module(folded: Path, tiny_subject: Subject) -> None:
    module = "down_blocks.0.attentions.0.transformer_blocks.0.attn2"

    def fault(model: ir.Model) -> None:
        faults.swap_key_and_value(module)(model)
        InlinePass()(model)

    wrong = faults.inject(folded, folded.with_name("flat.onnx"), fault)
    found = locate(wrong, tiny_subject, CASE).finding
    assert found is not None
    assert (found.module, found.operator, found.role) == (
        module,
        "Attention",
        "cross_attention",
    )
