"""What one viewer shows, as bytes ready to be sent to its pages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from viewer.errors import RecordingError
from viewer.model.atlas import Atlas
from viewer.model.compare import compare
from viewer.model.recording import Recording
from viewer.model.standing import Standing, standing

NETRON_LIMIT = 5_000
"""Netron is not asked to lay out more operators than this at once: it would not come back."""


@dataclass(frozen=True)
class Shown:
    """One model, or two to compare.

    Attributes:
        models: Read atlases.
        report: A parity report with errors per module; empty when there is none.
        recording: What the first model did while it sampled, if that was recorded.
        profile: Measured times of the first model's modules; empty when there are none.
        importance: What the image loses without each of its parts; likewise.
    """

    models: tuple[Atlas, ...]
    report: Mapping[str, Any] = field(default_factory=dict)
    recording: Recording | None = None
    profile: Mapping[str, Any] = field(default_factory=dict)
    importance: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def atlases(self) -> tuple[bytes, ...]:
        """Each model's payload as JSON."""
        return tuple(_dump(atlas.to_json()) for atlas in self.models)

    @cached_property
    def comparison(self) -> Mapping[str, Any] | None:
        """What differs between two models; None when there is one."""
        if len(self.models) < 2:
            return None
        return compare(self.models[0], self.models[1])

    def recorded(self) -> Recording:
        """The recording.

        Raises:
            RecordingError: There is none.
        """
        if self.recording is None:
            raise RecordingError("no recording is shown", do="see --recording")
        return self.recording

    def about(self, **more: Any) -> dict[str, Any]:
        """What the page needs before anything else."""
        models = [
            {
                "name": model.name,
                "file": model.file.path.name,
                "label": "/".join(model.file.path.absolute().parts[-2:]),
                "large": len(model.file.model.graph) > NETRON_LIMIT,
            }
            for model in self.models
        ]
        return {
            "models": models,
            "report": dict(self.report),
            "standing": self.standing.to_json(),
            "recording": self.recording is not None,
            "profile": dict(self.profile) or None,
            "importance": dict(self.importance) or None,
            **more,
        }

    @cached_property
    def standing(self) -> Standing:
        """Of the report's verdict on the first model."""
        verdict = self.report.get("parity")
        if not isinstance(verdict, Mapping):
            return Standing()
        return standing(self.models[0].file, verdict)


def _dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=str).encode(
        errors="replace"
    )
