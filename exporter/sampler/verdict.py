"""What a proof says, of a sampling stage or of a whole picture: cases in noise floors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from exporter.types import StageRecord

FLOOR_FACTOR = 3.0
"""As for the UNet's trajectories (docs/PARITY.md)."""

ROUNDINGS = {"fp32": 2.0**-23, "fp16": 2.0**-10, "bf16": 2.0**-7}
"""Machine epsilon: what one rounding of a prediction can move it by."""


class Judged(Protocol):
    """One case, compared."""

    @property
    def case(self) -> Any:
        """Which: a dataclass with a ``name`` for people."""

    @property
    def ratio(self) -> float:
        """Distance in noise floors; infinite where there is no comparing."""

    def figures(self) -> dict[str, Any]:
        """What was measured beside the ratio, as JSON values."""


Found = TypeVar("Found", bound=Judged)


@dataclass(frozen=True)
class Proof(Generic[Found]):
    """All cases.

    Attributes:
        found: One for each.
        provider: Where ONNX Runtime ran.
        digest: What ties the verdict to the file: of its graph and its weights' headers.
    """

    found: tuple[Found, ...]
    provider: str
    digest: Mapping[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether every case is within the floor."""
        return all(_within(one) for one in self.found)

    @property
    def worst(self) -> Found:
        """The one furthest from diffusers."""
        return max(self.found, key=lambda one: (not _within(one), one.ratio))

    def words(self, runs: str) -> str:
        """For people: how many ``runs`` there were, and the worst."""
        return (
            f"{len(self.found)} {runs} on {self.provider}; "
            f"worst {self.worst.case.name}: {self.worst.ratio:.2g} noise floors"
        )

    def to_metadata(self) -> dict[str, Any]:
        """As ``atlas.sampler.parity`` and ``atlas.text_to_image.parity``."""
        return {
            "verdict": "passed" if self.passed else "failed",
            "digest": dict(self.digest),
            "provider": self.provider,
            "floor_factor": FLOOR_FACTOR,
            "cases": [
                {
                    "name": one.case.name,
                    **asdict(one.case),
                    **one.figures(),
                    "ratio": one.ratio,
                }
                for one in self.found
            ],
        }


def _within(one: Judged) -> bool:
    return one.ratio <= FLOOR_FACTOR  # not so where it is not a number


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was written.

    Attributes:
        target: The file.
        scheduler: diffusers' class.
        nodes: At top level.
        functions: Local functions.
        nbytes: Size of the file.
        proof: The check; None when it was skipped.
        stages: Time of each.
    """

    target: Path
    scheduler: str
    nodes: int
    functions: int
    nbytes: int
    proof: Proof[Any] | None
    stages: tuple[StageRecord, ...]

    @property
    def seconds(self) -> float:
        """Wall time in all."""
        return sum(stage.seconds for stage in self.stages)

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {
            "target": str(self.target),
            "scheduler": self.scheduler,
            "nodes": self.nodes,
            "functions": self.functions,
            "bytes": self.nbytes,
            "parity": self.proof.to_metadata() if self.proof else None,
            "stages": [asdict(stage) for stage in self.stages],
        }
