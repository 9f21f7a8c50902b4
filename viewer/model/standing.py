"""What a verdict is worth of the file at hand: proven, or claimed and why it is no more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from viewer.model.digest import departure
from viewer.model.file import ModelFile


@dataclass(frozen=True)
class Standing:
    """A verdict, held against the file that it is shown with.

    Attributes:
        verdict: As written; empty where there is none.
        departure: Why it is not of this file as it is now; empty where it is.
    """

    verdict: str = ""
    departure: str = ""

    @property
    def proven(self) -> bool:
        """Whether the file as it is now was found to compute what PyTorch computes."""
        return self.verdict == "passed" and not self.departure

    @property
    def word(self) -> str:
        """One word or two: ``proven``, ``claimed``, or a verdict that says no such thing."""
        claims = "proven" if self.proven else "claimed"
        return claims if self.verdict == "passed" else self.verdict

    @property
    def text(self) -> str:
        """The same with the reason, such as ``claimed, and the graph was changed since``."""
        return f"{self.word}, and {self.departure}" if self.word == "claimed" else self.word

    def to_json(self) -> dict[str, Any]:
        """For the page."""
        return {"word": self.word, "text": self.text}


def standing(file: ModelFile, verdict: Mapping[str, Any]) -> Standing:
    """Holds a verdict against a file.

    Args:
        file: The model as it is now.
        verdict: ``atlas.parity``, that of a sampler, or a report's; untrusted.
    """
    said = verdict.get("verdict")
    if not isinstance(said, str):
        return Standing()
    return Standing(said, departure(file, verdict.get("digest")) if said == "passed" else "")
