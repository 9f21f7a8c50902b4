"""What one export did, as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from exporter.annotate import Roles
from exporter.parity import ParityReport
from exporter.types import StageRecord


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
    seconds: float
    peak_memory: int

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        plain = {
            key: getattr(self, key) for key in self.__dataclass_fields__ if key != "parity"
        }
        return {
            **plain,
            "target": str(self.target),
            "weights": dict(self.weights),
            "roles": asdict(self.roles),
            "stages": [asdict(record) for record in self.stages],
            "passes": [asdict(record) for record in self.passes],
            "parity": self.parity.to_json() if self.parity else None,
        }
