"""What one export did, as a value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from exporter.roles import Roles
from exporter.types import StageRecord

if TYPE_CHECKING:
    from exporter.parity.report import ParityReport
    from exporter.variant import Variant


@dataclass(frozen=True)
class VariantReport:
    """The file that is not portable, beside the one that is.

    Attributes:
        target: The file written.
        provider: The provider of ONNX Runtime that it is made for.
        nodes: Nodes of its graph.
        fusions: How many nodes of each operator of ONNX Runtime's own it has.
        parity: Its check, or None when it was skipped.
    """

    target: Path
    provider: str
    nodes: int
    fusions: Mapping[str, int]
    parity: ParityReport | None

    @classmethod
    def of(cls, variant: Variant, target: Path, reports: Sequence[ParityReport]) -> Self:
        """What became of ``variant``; the last of the reports, if any, is its own."""
        proof = reports[-1] if reports else None
        return cls(target, variant.provider, variant.nodes, dict(variant.fusions), proof)

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {
            **{key: getattr(self, key) for key in ("provider", "nodes", "fusions")},
            "target": str(self.target),
            "parity": self.parity.to_json() if self.parity else None,
        }


@dataclass(frozen=True)
class ExportReport:
    """What one export did.

    Attributes:
        target: The file written.
        model: What was exported.
        class_name: Its diffusers class.
        weights: As in ``atlas.weights``.
        opset: Opset of the default domain.
        nodes_traced: Nodes as lowered.
        nodes_flat: Nodes after simplification.
        weight_transposes: Those of ``nodes_flat`` that only turn a stored weight.
        nodes_top: Nodes of the main graph as written.
        functions: Local functions.
        roles: What was found in the graph.
        stages: Time of every stage.
        passes: Node counts around every pass.
        parity: The check, or None when it was skipped.
        variant: The file for ONNX Runtime alone; None when none was asked for.
        seconds: Wall time in all.
        peak_memory: Largest resident size of the process, in bytes.
    """

    target: Path
    model: str
    class_name: str
    weights: Mapping[str, Any]
    opset: int
    nodes_traced: int
    nodes_flat: int
    weight_transposes: int
    nodes_top: int
    functions: int
    roles: Roles
    stages: tuple[StageRecord, ...]
    passes: tuple[StageRecord, ...]
    parity: ParityReport | None
    variant: VariantReport | None
    seconds: float
    peak_memory: int

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        values = {key: getattr(self, key) for key in self.__dataclass_fields__}
        return {
            **values,
            "target": str(self.target),
            "weights": dict(self.weights),
            "roles": asdict(self.roles),
            "stages": [asdict(record) for record in self.stages],
            "passes": [asdict(record) for record in self.passes],
            "variant": self.variant.to_json() if self.variant else None,
            "parity": self.parity.to_json() if self.parity else None,
        }
