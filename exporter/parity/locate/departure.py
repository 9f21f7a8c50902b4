"""The part of a graph in which right becomes wrong, with what PyTorch computes at its end."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from exporter.parity.locate.finding import Finding
from exporter.parity.locate.match import Reference
from exporter.runtime.inlined import Inlined


@dataclass(frozen=True)
class Departure:
    """Where a file departs from PyTorch.

    Attributes:
        flat: The graph.
        begin: Values that are right, or whose maker is not at fault.
        end: The first value that is wrong and that PyTorch computes too.
        reference: PyTorch's; None where ONNX Runtime stops.
        finding: The same for people.
    """

    flat: Inlined
    begin: frozenset[ir.Value]
    end: ir.Value
    reference: Reference | None
    finding: Finding
