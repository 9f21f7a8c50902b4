"""The check as the exporter uses it, on a file of ours."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from exporter.errors import ProviderError, UsageError
from exporter.parity import judge
from exporter.parity.cases import ParityCase
from exporter.parity.check import check
from exporter.parity.report import CaseResult
from exporter.parity.subject import Subject
from exporter.parity.tolerance import DEFAULTS, resolve
from exporter.pipeline import export
from exporter.types import ExportRequest, Progress
from tests.exporter.parity import faults
from tests.exporter.parity.fault_set import FAULTS

CASE = ParityCase(1, 16, 16, 7, 261.5)


def test_the_short_form_proves_a_file_at_its_floor(
    folded: Path, tiny_subject: Subject
) -> None:
    told: list[Progress] = []
    report = check(folded, tiny_subject, on_progress=told.append)
    assert report.passed
    assert len(report.cases) >= 3
    assert {result.case.batch for result in report.cases} == {1, 2, 3}
    for result in report.cases:
        assert result.floor is not None
        assert 0.5 < result.floor.ratio < 2  # two honest backends
        assert result.floor.dtype == "float64"
    assert [event.done for event in told] == list(range(1, 2 * len(report.cases) + 1))
    assert report.peak_memory >= report.torch_peak_memory > 0
    assert report.placement.heavy["CPUExecutionProvider"] > 50
    assert report.to_metadata()["verdict"] == "passed"


def test_a_tolerance_of_ones_own_decides_alone(folded: Path, tiny_subject: Subject) -> None:
    fault = faults.bias_by_one_percent("conv_out", "Conv")
    wrong = faults.inject(folded, folded.with_name("loose.onnx"), fault)
    loose = check(wrong, tiny_subject, cases=[CASE], tolerance=resolve("fp32", 0.1))
    assert loose.passed
    assert loose.worst.floor is not None
    assert loose.worst.floor.ratio > 50
    both = check(
        wrong, tiny_subject, cases=[CASE], tolerance=resolve("fp32", 0.1, floor_factor=4)
    )
    assert not both.passed
    tight = check(folded, tiny_subject, cases=[CASE], tolerance=resolve("fp32", 1e-9))
    assert not tight.passed


def test_without_a_floor_the_tolerance_is_all_there_is(
    folded: Path, tiny_subject: Subject
) -> None:
    report = check(folded, tiny_subject, cases=[CASE], floor=False)
    assert report.passed
    assert report.worst.floor is None
    assert "floor" not in report.worst.verdict


def test_bf16_on_the_cpu_is_refused_before_any_work(
    folded: Path, tiny_subject: Subject
) -> None:
    with pytest.raises(ProviderError, match="bf16"):
        check(folded, replace(tiny_subject, dtype="bf16"))


@pytest.mark.parametrize("number", [-1.0, float("nan"), float("inf")])
def test_a_tolerance_that_is_no_number_is_refused(number: float) -> None:
    with pytest.raises(UsageError, match="atol"):
        resolve("fp32", number)


def test_no_cases_is_refused(folded: Path, tiny_subject: Subject) -> None:
    with pytest.raises(UsageError, match="no cases"):
        check(folded, tiny_subject, cases=[])


def test_a_condition_below_the_noise_is_not_called_proven(
    tmp_path: Path, make_unet: Any
) -> None:
    """Every cross-attention a thousandth of what it was: in fp16 the text is lost in noise."""
    unet = make_unet()
    for path, module in unet.named_modules():
        if path.endswith("attn2.to_out.0"):
            module.weight.mul_(1e-3)
    unet.save_pretrained(tmp_path / "unet")
    target = tmp_path / "half.onnx"
    request = ExportRequest(target, model=str(tmp_path), dtype="fp16", provider="cpu")
    parity = export(request).parity
    assert parity is not None
    assert not parity.failed
    assert not parity.passed
    assert (parity.verdict, parity.unprovable) == ("not provable", ("text",))
    assert parity.to_metadata()["unprovable"] == ["text"]


def test_an_output_of_another_type_fails(folded: Path, tiny_subject: Subject) -> None:
    fault = FAULTS["output in double"]
    wrong = faults.inject(folded, folded.with_name("double.onnx"), fault.edit)
    report = check(wrong, tiny_subject, cases=[CASE])
    assert report.failed
    assert "tensor(double)" in report.worst.verdict


def test_only_a_case_that_ran_is_asked_for_overflow(
    tiny_subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A half file that ONNX Runtime cannot run at one size still gets its whole report."""
    results = [
        CaseResult(replace(CASE, batch=batch), DEFAULTS["fp16"], None, None, failure)
        for batch, failure in ((1, ""), (2, "ONNX Runtime cannot run the graph"), (3, ""))
    ]
    asked = []

    def overflows(_path: Path, _provider: str, inputs: Any) -> list[str | None]:
        asked.extend(len(one["sample"]) for one in inputs)
        return [None, "it leaves the range"]

    monkeypatch.setattr(judge, "overflows", overflows)
    told = judge._with_overflows(results, Path("x.onnx"), tiny_subject)
    assert asked == [1, 3]
    assert [one.failure for one in told] == ["", results[1].failure, "it leaves the range"]
    assert judge._with_overflows(results[1:2], Path("x.onnx"), tiny_subject) == results[1:2]
    assert asked == [1, 3]
