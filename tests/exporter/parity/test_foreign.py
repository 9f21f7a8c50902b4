"""Files of other exporters: no metadata, constant weights, integer timesteps."""

from pathlib import Path

import onnx_ir as ir
import pytest

from exporter.errors import UsageError
from exporter.parity.cases import ParityCase, fitted, refusal
from exporter.parity.check import check
from exporter.parity.locate import locate
from exporter.parity.subject import Subject
from exporter.runtime.contract import read_contract
from tests.exporter.parity import faults

EVEN = ParityCase(1, 16, 24, 7, 261)


def test_a_foreign_file_is_proven_where_it_works(foreign: Path, tiny_subject: Subject) -> None:
    report = check(foreign, tiny_subject, cases=[EVEN])
    assert report.passed
    assert report.worst.floor is not None
    assert report.worst.floor.ratio < 2


def test_where_it_cannot_run_the_failing_node_is_named(
    foreign: Path, tiny_subject: Subject
) -> None:
    odd = ParityCase(1, 33, 35, 7, 261)
    report = check(foreign, tiny_subject, cases=[EVEN, odd])
    assert [result.passed for result in report.cases] == [True, False]
    assert "Concat" in report.worst.verdict
    found = locate(foreign, tiny_subject, odd).finding
    assert found is not None
    assert (found.module, found.operator) == ("up_blocks.1", "Concat")


def test_a_fault_is_named_by_node_names(foreign: Path, tiny_subject: Subject) -> None:
    name = "unet.mid_block.resnets.1.conv2.bias"

    def fault(model: ir.Model) -> None:
        value = model.graph.initializers[name]
        assert value.const_value is not None
        value.const_value = ir.tensor(value.const_value.numpy() * 1.01, name=name)

    wrong = faults.inject(foreign, foreign.with_name("wrong.onnx"), fault)
    assert not check(wrong, tiny_subject, cases=[EVEN]).passed
    found = locate(wrong, tiny_subject, EVEN).finding
    assert found is not None
    assert found.module == "mid_block.resnets.1.conv2"
    assert "mid_block.resnets.1.conv2.bias" in found.evidence[0]


def test_what_a_file_takes_is_read_from_it(foreign: Path, tiny_subject: Subject) -> None:
    contract = read_contract(foreign)
    assert contract.dtype == "fp32"
    assert contract.model is None
    contract.require(tiny_subject.source)
    assert refusal(EVEN, contract) == ""
    assert fitted(ParityCase(2, 8, 8, 7, 9.5, per_sample=True), contract) == ParityCase(
        2, 8, 8, 7, 9.0
    )
    assert "whole batch" in refusal(ParityCase(2, 16, 16, 7, 8, per_sample=True), contract)
    assert "integer" in refusal(ParityCase(1, 16, 16, 7, 0.5), contract)


def test_fixed_axes_refuse_other_sizes(foreign: Path, tmp_path: Path) -> None:
    model = ir.load(foreign)
    model.graph.inputs[0].shape = ir.Shape([2, 4, 16, 16])
    ir.save(model, tmp_path / "fixed.onnx")
    contract = read_contract(tmp_path / "fixed.onnx")
    assert refusal(ParityCase(2, 16, 16, 7, 1), contract) == ""
    assert "fixed at [2, 4, 16, 16]" in refusal(ParityCase(1, 16, 16, 7, 1), contract)


def test_a_model_with_other_inputs_is_refused(foreign: Path, tmp_path: Path) -> None:
    model = ir.load(foreign)
    model.graph.inputs[2].name = "text"
    ir.save(model, tmp_path / "renamed.onnx")
    contract = read_contract(tmp_path / "renamed.onnx")
    assert "text" in contract.types
    model.graph.inputs[0].name = "x"
    ir.save(model, tmp_path / "renamed.onnx")
    with pytest.raises(UsageError, match="sample"):
        read_contract(tmp_path / "renamed.onnx")


def test_what_is_no_onnx_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"\xff\xffnot a model")
    for path in (tmp_path / "x.onnx", tmp_path / "none.onnx", tmp_path):
        with pytest.raises(UsageError):
            read_contract(path)
