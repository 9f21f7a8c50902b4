"""What a reduction left, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from exporter.parity.locate import Finding
from exporter.runtime.session import Array


@dataclass(frozen=True)
class Reduction:
    """A few nodes that fail by themselves.

    Attributes:
        model: They and their constants; checker-valid.
        inputs: What the whole file computed at its border, by input name.
        expected: PyTorch's value, in the layout of the output; None where ONNX Runtime cannot
            run the nodes at all.
        limit: Root mean square of the difference that two honest backends may have.
        error: That of the model; infinite where its output is not finite, or there is none.
        case: Name of the case it comes from.
        finding: What is known about the fault.
    """

    model: ir.Model
    inputs: dict[str, Array]
    expected: Array | None
    limit: float
    error: float
    case: str
    finding: Finding

    @property
    def nodes(self) -> tuple[str, ...]:
        """Operator of each node, in order."""
        return tuple(node.op_type for node in self.model.graph)

    @property
    def nbytes(self) -> int:
        """Bytes of the .onnx."""
        return len(self.serialized)

    @property
    def serialized(self) -> bytes:
        """The model as a file holds it."""
        return bytes(ir.to_proto(self.model).SerializeToString())

    @property
    def fails(self) -> bool:
        """Whether what is left still fails."""
        return not self.error <= self.limit

    def __str__(self) -> str:
        return (
            f"reduced to {len(self.nodes)} node{'s'[: len(self.nodes) != 1]} "
            f"({', '.join(self.nodes)}), {self.nbytes:,} bytes, on {self.case}"
        )

    def to_json(self) -> dict[str, Any]:
        """As in docs/report.schema.json."""
        return {
            "case": self.case,
            "nodes": list(self.nodes),
            "bytes": self.nbytes,
            "module": self.finding.module,
            "source": self.finding.source,
        }
