"""Progress of the proof: finished units, counted and told."""

from __future__ import annotations

from exporter.types import OnProgress, Progress


class Count:
    """Call it after every unit.

    Args:
        on_progress: Who is told.
        stage: Of what.
        total: How many there will be.
        unit: What they are, in the plural.
    """

    def __init__(self, on_progress: OnProgress, stage: str, total: int, unit: str) -> None:
        self._tell, self._stage, self._unit = on_progress, stage, unit
        self._done, self._total = 0, total

    def __call__(self, _: object = None) -> None:
        """One more is done."""
        self._done += 1
        self._tell(Progress(self._stage, self._done, self._total, self._unit))
