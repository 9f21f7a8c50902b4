"""Losses over all prompts as a table: JSON for tools, Markdown and a figure for people."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import mean
from typing import Any

from exporter.disk import write_text
from exporter.sample.experiments.wish import Wish
from exporter.sample.importance.ledger import Key
from exporter.sample.importance.measure import Loss
from exporter.sample.importance.plan import TITLE, ImportancePlan, written

FORMAT_VERSION = "1"


@dataclass(frozen=True)
class Part:
    """What one part was for, as a mean over all prompts; see ``measure.Loss``.

    Attributes:
        wish: The part, switched off.
        image: Change of the finished latents.
        prediction: Change of the prediction at each step.
        words: Of each word, the change inside its region and outside.
    """

    wish: Wish
    image: float
    prediction: tuple[float, ...]
    words: Mapping[str, tuple[float, float]]

    @property
    def word(self) -> str:
        """The word whose region changes most beside the rest."""
        ratio = {
            word: inside / (outside or 1) for word, (inside, outside) in self.words.items()
        }
        return max(ratio, key=lambda word: ratio[word], default="")

    @property
    def step(self) -> int:
        """The step, from 1, at which the prediction changes most."""
        return 1 + max(range(len(self.prediction)), key=lambda at: self.prediction[at])

    def to_json(self) -> dict[str, Any]:
        """Numbers rounded to six digits."""
        return {
            "part": str(self.wish),
            "kind": self.wish.kind,
            "place": self.wish.place,
            "image": _rounded([self.image])[0],
            "prediction": _rounded(self.prediction),
            "words": {word: _rounded(pair) for word, pair in self.words.items()},
        }


@dataclass(frozen=True)
class Table:
    """Every part, in the order of data, and what was measured."""

    plan: Mapping[str, Any]
    parts: tuple[Part, ...]

    @property
    def ranked(self) -> list[Part]:
        """The part that the image depends on most, first."""
        return sorted(self.parts, key=lambda part: -part.image)

    def to_json(self) -> dict[str, Any]:
        """docs/EXPERIMENTS.md says what is in it."""
        parts = [part.to_json() for part in self.parts]
        head = {"format": FORMAT_VERSION, "kind": "importance", "title": TITLE}
        return {**head, **self.plan, "parts": parts}

    def to_markdown(self) -> str:
        """One row a part, the most important first."""
        count, model = len(self.plan["prompts"]), self.plan["model"]
        total = self.plan["steps"]
        lines = [
            f"# {TITLE} {model} is for",
            "",
            f"{count} prompts, {total} steps, guidance {self.plan['guidance']:g}. "
            "Changes, rms over rms: of the finished latents, off at every step; and of the "
            "prediction, off at one step alone.",
            "",
            "| off | image | prediction, first step | middle | last | most at | most word |",
            "|---|---:|---:|---:|---:|---:|---|",
        ]
        for part in self.ranked:
            steps = part.prediction
            shown = (steps[0], steps[len(steps) // 2], steps[-1])
            told = " | ".join(f"{value:.1%}" for value in (part.image, *shown))
            name = f"{part.wish.kind}:{part.wish.place}"
            lines.append(f"| `{name}` | {told} | {part.step} | {part.word} |")
        return "\n".join(lines) + "\n"


def make_table(plan: ImportancePlan, found: Mapping[Key, Loss]) -> Table:
    """Means over the prompts; a word counts in those prompts that have it."""
    rows = []
    for wish in plan.wishes:
        losses = [found[index, str(wish)] for index in range(len(plan.prompts))]
        rows.append(
            Part(
                wish,
                mean(loss.image for loss in losses),
                tuple(
                    mean(step) for step in zip(*(x.prediction for x in losses), strict=True)
                ),
                _words(losses),
            )
        )
    return Table(plan.to_json(), tuple(rows))


def write(table: Table, target: Path) -> tuple[Path, ...]:
    """The .json, a .md beside it, and a .svg where matplotlib is installed."""
    _, markdown, figure = written(target)
    write_text(target, json.dumps(table.to_json(), indent=1) + "\n")
    write_text(markdown, table.to_markdown())
    if find_spec("matplotlib") is None:
        return target, markdown
    from exporter.sample.importance.figure import draw

    write_text(figure, draw(table))
    return target, markdown, figure


def _words(losses: Sequence[Loss]) -> dict[str, tuple[float, float]]:
    named = dict.fromkeys(word for loss in losses for word in loss.words)
    return {
        word: (
            mean(loss.words[word][0] for loss in losses if word in loss.words),
            mean(loss.words[word][1] for loss in losses if word in loss.words),
        )
        for word in named
    }


def _rounded(values: Iterable[float]) -> list[float]:
    return [float(f"{value:.6g}") for value in values]
