"""From a failing file and a case to the smallest ONNX file that still fails."""

from exporter.parity.reduce.reduction import Reduction
from exporter.parity.reduce.shrink import reduce, reduce_departure, require_numbers

__all__ = ["Reduction", "reduce", "reduce_departure", "require_numbers"]
