"""Wishes against what a file and a prompt have: every refusal before any work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from exporter.errors import UsageError
from exporter.sample.experiments.aim import Aim, find_aim
from exporter.sample.experiments.edit import Edit, Experiment
from exporter.sample.experiments.freeu import FreeU, stages
from exporter.sample.experiments.guidance import HALVES, Guidance
from exporter.sample.experiments.heads import head
from exporter.sample.experiments.scaling import Scaling, operands
from exporter.sample.experiments.wish import Wish, nearest
from exporter.sample.experiments.words import Said, Scaled, Swapped, Text
from exporter.sample.points import Points
from exporter.sample.prompts import Prompt


@dataclass(frozen=True)
class Ground:
    """What an experiment stands on.

    Attributes:
        prompt: The text.
        rows: Of each evaluation.
        evaluations: How many there are.
    """

    prompt: Prompt
    rows: tuple[str, ...]
    evaluations: int


def plan_experiment(wishes: Sequence[Wish], ground: Ground, points: Points) -> Experiment:
    """Finds what every wish means; those about words are made with one edit each kind.

    Raises:
        UsageError: A module, skip or word that is not there, a module of another kind, or
            steps that are never reached.
    """
    edits: list[Edit] = []
    for number, wish in enumerate(wishes):
        _guard(wish, ground)
        if wish.kind == "guidance":
            edits.append(Guidance(wish, number))
        elif wish.kind == "head":
            edits.append(head(wish, points, number))
        elif wish.kind == "freeu":
            edits.append(FreeU(wish, stages(points), number))
        elif wish.kind not in ("word", "swap"):
            edits.append(Scaling(wish, operands(wish, points), number))
    return Experiment((*_words(wishes, points, ground), *edits))


def _guard(wish: Wish, ground: Ground) -> None:
    if wish.steps.first > ground.evaluations or (wish.steps.last or 0) > ground.evaluations:
        raise UsageError(f"{wish}", f"steps from 1 to {ground.evaluations}")
    if wish.kind == "guidance":
        if wish.place not in HALVES:
            raise UsageError(f"{wish}", "uncond or cond", nearest(wish.place, HALVES))
        if len(ground.rows) < 2:
            raise UsageError(f"{wish} without guidance", "--guidance above 1")
    if wish.kind == "word" and wish.factors[0] < 0:
        raise UsageError(f"{wish}", "a factor of 0 or more: attention is not negative")


def _words(wishes: Sequence[Wish], points: Points, ground: Ground) -> list[Edit]:
    masked = [wish for wish in wishes if wish.kind == "word"]
    swapped = [wish for wish in wishes if wish.kind == "swap"]
    if not masked and not swapped:
        return []
    if ground.prompt.states is None or not points.attentions:
        raise UsageError(
            f"{(masked + swapped)[0]} with a model without cross-attention to a text",
            "one that reads a prompt",
        )
    rows, tokens = ground.prompt.states.shape[:2]
    text = Text(rows, tokens, ground.prompt.words[-1])
    found: list[Edit] = []
    if swapped:
        exchanged = tuple(_swap(wish, text) for wish in swapped)
        found.append(Swapped(exchanged, text, Aim(points.attentions)))
    said: dict[str, list[Said]] = {}
    for wish in masked:
        word, where = text.split(wish.place)
        said.setdefault(where, []).append(Said(wish, text.find(word, str(wish))))
    for where, words in said.items():
        aim = find_aim(words[0].wish, where, points) if where else Aim(points.attentions)
        number = 0 if not where else 1 + [other for other in said if other].index(where)
        found.append(Scaled(tuple(words), text, aim, number))
    return found


def _swap(wish: Wish, text: Text) -> Said:
    one, other = wish.place.split(",")
    tokens, others = (text.find(word, f"{wish}") for word in (one, other))
    if len(tokens) != len(others) or set(tokens) & set(others):
        raise UsageError(
            f"{wish}: {len(tokens)} and {len(others)} tokens",
            "two words of as many tokens in the prompt",
        )
    return Said(wish, tokens, others)
