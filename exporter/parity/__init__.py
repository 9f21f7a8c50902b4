"""PyTorch against ONNX Runtime on the file as written."""

from exporter.parity.cases import ParityCase, matrix
from exporter.parity.check import check
from exporter.parity.report import CaseResult, ParityReport

__all__ = ["CaseResult", "ParityCase", "ParityReport", "check", "matrix"]
