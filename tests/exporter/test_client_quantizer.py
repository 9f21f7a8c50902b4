"""ONNX Runtime's quantizer takes our file, and the parity check says what that costs."""

from pathlib import Path

import onnx
import pytest
from onnxruntime.quantization import QuantType, quantize_dynamic

from exporter.parity.cases import ParityCase
from exporter.parity.check import check
from exporter.parity.locate import locate
from exporter.parity.subject import Subject
from exporter.parity.tolerance import resolve
from exporter.pipeline import export
from exporter.source import load_source
from exporter.types import ExportRequest

CASE = ParityCase(1, 12, 12, 16)


@pytest.fixture(scope="module")
def int8(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("int8")
    flat, whole, quantized = (folder / f"{name}.onnx" for name in ("flat", "whole", "int8"))
    export(ExportRequest(flat, model="shapes", flat=True, weights="copy", check=False))
    onnx.save(onnx.load(flat), whole)
    quantize_dynamic(
        whole, quantized, op_types_to_quantize=["MatMul", "Gemm"], weight_type=QuantType.QInt8
    )
    return quantized


def test_no_initializer_is_described_twice(int8: Path) -> None:
    graph = onnx.load(int8.with_name("flat.onnx"), load_external_data=False).graph
    stored = {tensor.name for tensor in graph.initializer}
    assert stored
    assert not stored & {value.name for value in graph.value_info}


def test_int8_is_no_fp32_and_the_first_rounded_module_is_named(int8: Path) -> None:
    subject = Subject(load_source("shapes"), "fp32", (), "cpu")
    report = check(int8, subject, cases=[CASE], tolerance=resolve("fp32"))
    assert not report.passed
    finding = locate(int8, subject, report.to_search).finding
    assert finding is not None
    assert finding.module.startswith("time_embedding.linear_1")
