"""What a search for the first departure found."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from exporter.parity.report import json_safe


@dataclass(frozen=True)
class Operand:
    """The range of one input of a faulty node.

    Attributes:
        name: Name of the value in the file.
        low: Smallest finite number.
        high: Largest finite number.
        nonfinite: Elements that are NaN or infinite.
    """

    name: str
    low: float
    high: float
    nonfinite: int


@dataclass(frozen=True)
class Finding:
    """The first operator whose output departs.

    Attributes:
        module: Path of the module it belongs to.
        block: The smallest block around it: the module's parent where it is a single layer.
        role: ``atlas.role`` of the node; empty in a file without our metadata.
        source: diffusers file and line.
        operator: ONNX operator.
        node: Name of that node.
        value: Name of its output.
        before: Largest relative error among what goes in.
        after: Relative error of what comes out; infinite where it is not finite.
        floors: The same error in noise floors of that very tensor.
        evidence: What else is known, one sentence each: a constant that differs from
            the parameter, a range that overflows.
        region: Every node between what is right and what is wrong, if there is more than one.
        operands: Ranges of the node's inputs, where its output is not finite.
    """

    module: str
    block: str
    role: str
    source: str
    operator: str
    node: str
    value: str
    before: float
    after: float
    floors: float
    evidence: tuple[str, ...] = ()
    region: tuple[str, ...] = ()
    operands: tuple[Operand, ...] = ()

    def __str__(self) -> str:
        where = self.module or "the UNet itself"
        about = ", ".join(part for part in (self.role, self.source) if part)
        what = f"{where}: {self.operator} {self.node} ({about or 'no metadata'})"
        if not math.isfinite(self.after):
            return (
                f"{what}, {'nothing finite comes out' if self.operands else 'it cannot run'}"
            )
        return (
            f"{what}, relative error {self.before:.1e} before, {self.after:.1e} after, "
            f"{self.floors:.3g}x the floor"
        )


@dataclass(frozen=True)
class Location:
    """The outcome of one search.

    Attributes:
        case: Name of the case it ran on.
        finding: The first departure; None where nothing departs.
        sessions: ONNX Runtime sessions it took.
        compared: Values of the file that were compared with PyTorch's.
        unmatched: Modules whose output could not be found in the file.
        keep_fp32: For fp16: the smallest list of modules that keeps it in range.
        runtime: Whether the file is right and ONNX Runtime's own optimisations are not.
        seconds: Wall time.
        peak_memory: Largest resident size of the process, in bytes.
        note: One remark, e.g. how far a file without metadata could be searched.
    """

    case: str
    finding: Finding | None
    sessions: int
    compared: int
    unmatched: tuple[str, ...] = ()
    keep_fp32: tuple[str, ...] = ()
    runtime: bool = False
    seconds: float = 0.0
    peak_memory: int = 0
    note: str = ""

    def __str__(self) -> str:
        if self.runtime:
            return "the graph is right, ONNX Runtime's optimised form of it is not"
        if self.finding is None:
            return f"nothing departs in {self.compared} comparisons"
        return f"first in {self.finding}"

    def to_json(self) -> dict[str, Any]:
        """As in docs/report.schema.json."""
        found: dict[str, Any] = json_safe(asdict(self))
        return found
