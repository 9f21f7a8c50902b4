"""What a page asks to be sampled, as arguments of the exporter's command."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from viewer.errors import SamplingError

MOST_STEPS = 1000
MOST_SWITCHES = 500
_LONGEST = 2000
_TEXTS = ("prompt", "negative", "seed", "steps", "guidance", "scheduler")
_EXPERIMENTS = {
    "without": "without",
    "scale": "scale",
    "mask": "mask-token",
    "swap": "swap-tokens",
    "freeu": "freeu",
}
_SCHEDULER = re.compile(r"[A-Za-z0-9+_-]{0,60}")
_OPTIONS = {
    "prompt": "prompt",
    "negative": "negative-prompt",
    "seed": "seed",
    "steps": "steps",
    "guidance": "guidance",
    "scheduler": "scheduler",
}


@dataclass(frozen=True)
class Order:
    """One run as the page asked for it; every text is still to be judged by the command.

    Attributes:
        model: Which of the models shown.
        texts: ``prompt``, ``negative``, ``seed``, ``steps``, ``guidance``, ``scheduler``.
        experiments: Lists of the command's experiments: ``without``, ``scale``, ``mask``,
            ``swap``, ``freeu``.
        heads: Whether the maps of each head are wanted.
    """

    model: int
    texts: Mapping[str, str]
    experiments: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    heads: bool = False

    def arguments(self) -> list[str]:
        """Options of the command; none can be taken for another option or a file."""
        given = [f"--{_OPTIONS[name]}={text}" for name, text in self.texts.items() if text]
        for name, wishes in self.experiments.items():
            given += [f"--{_EXPERIMENTS[name]}={one}" for one in wishes]
        return [*given, *(["--heads"] if self.heads else [])]

    def to_json(self) -> dict[str, Any]:
        """The same, for the page."""
        return {
            "model": self.model,
            **self.texts,
            **{name: list(wishes) for name, wishes in self.experiments.items()},
            "heads": self.heads,
        }


def read_order(asked: Any, models: int) -> Order:
    """An order from decoded JSON of unknown origin.

    Args:
        asked: What a page sent.
        models: How many models are shown.

    Raises:
        SamplingError: Anything but a run of one of those models.
    """
    if not isinstance(asked, dict):
        raise SamplingError("an order that is no JSON object", "prompt, seed, steps, ...")
    unknown = sorted(set(asked) - {"model", "heads", *_TEXTS, *_EXPERIMENTS})
    if unknown:
        raise SamplingError(f"an order with {str(unknown[0])[:40]!r}", ", ".join(_TEXTS))
    texts = {name: _text(asked, name) for name in _TEXTS}
    if not _SCHEDULER.fullmatch(texts["scheduler"]):
        raise SamplingError(f"--scheduler {texts['scheduler']}", "a scheduler's name")
    steps = texts["steps"]
    if len(steps) > 6 or (steps.isascii() and steps.isdecimal() and int(steps) > MOST_STEPS):
        raise SamplingError(f"--steps {steps}", f"{MOST_STEPS} or fewer")
    model = asked.get("model", 0)
    if not isinstance(model, int) or not 0 <= model < models:
        raise SamplingError(f"model {str(model)[:20]}", f"one of the {models} shown")
    experiments = {name: _list(asked, name) for name in _EXPERIMENTS}
    return Order(model, texts, experiments, asked.get("heads") is True)


def _text(asked: Mapping[str, Any], name: str) -> str:
    found = asked.get(name, "")
    if not isinstance(found, str) or len(found) > _LONGEST or "\0" in found:
        raise SamplingError(f"{name} is no text of at most {_LONGEST} letters")
    return found.strip() if name != "prompt" else found


def _list(asked: Mapping[str, Any], name: str) -> tuple[str, ...]:
    found: Sequence[Any] = asked.get(name, [])
    short = isinstance(found, list) and len(found) <= MOST_SWITCHES
    if not short or not all(isinstance(one, str) and len(one) <= 300 for one in found):
        raise SamplingError(f"{name} is no list of at most {MOST_SWITCHES} short texts")
    return tuple(found)
