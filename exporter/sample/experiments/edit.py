"""What every experiment is made of: edits of a copy, and what each is fed at a step."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import onnx_ir as ir
import torch

from exporter.sample.experiments.wish import Wish
from exporter.sample.points import Points
from exporter.sample.scope import Scope, Scopes

Feeds = Mapping[str, torch.Tensor]

INPUT = "experiment"  # prefix of every input that an edit adds


class Edit(Protocol):
    """One intervention in the graph, whose strength is an input of the edited copy."""

    @property
    def wishes(self) -> Sequence[Wish]:
        """What it was made for."""

    def apply(self, scopes: Scopes) -> None:
        """Edits the copy."""

    def feeds(self, active: Collection[Wish]) -> Feeds:
        """Its inputs while some wishes are active; the others leave everything as it is."""

    def modules(self) -> Sequence[str]:
        """Where it takes effect, for the recording."""


class OneFactor:
    """An edit for one wish, whose strength is one factor.

    Attributes:
        wish: What was asked for.
        number: Of the edit among all: its input is ``experiment.<number>``.
    """

    wish: Wish
    number: int

    @property
    def wishes(self) -> Sequence[Wish]:
        """The one."""
        return (self.wish,)

    @property
    def input(self) -> str:
        """Name of the graph input that is the factor."""
        return f"{INPUT}.{self.number}"

    def feeds(self, active: Collection[Wish]) -> Feeds:
        """The factor, or 1."""
        return {self.input: scalar(self.wish.factors[0] if self.wish in active else 1.0)}


@dataclass(frozen=True)
class Experiment:
    """Edits that are made together, in this order; none leaves the file as it is."""

    edits: tuple[Edit, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.edits)

    def apply(self, scopes: Scopes) -> None:
        """Edits a copy of the graph."""
        for edit in self.edits:
            edit.apply(scopes)

    def feeds(self, step: int) -> Feeds:
        """What the copy is fed besides the UNet's own inputs, at an evaluation from 0."""
        return self.fed([wish for wish in self.wishes if step in wish.steps])

    def fed(self, active: Collection[Wish]) -> Feeds:
        """The same for some wishes alone; for none of them nothing is changed."""
        found = (edit.feeds(active) for edit in self.edits)
        return {name: value for feeds in found for name, value in feeds.items()}

    @property
    def wishes(self) -> Sequence[Wish]:
        """All of them, edit by edit."""
        return [wish for edit in self.edits for wish in edit.wishes]

    def to_json(self) -> list[dict[str, Any]]:
        """What is recorded of it; docs/RECORDING.md."""
        return [
            {
                "kind": wish.kind,
                "place": wish.place,
                "factors": list(wish.factors),
                "steps": [wish.steps.first, wish.steps.last],
                "modules": list(edit.modules()),
            }
            for edit in self.edits
            for wish in edit.wishes
        ]


def no_experiment(_: Points) -> Experiment:
    """Everything as it is."""
    return Experiment()


def strength(scopes: Scopes, scope: Scope, name: str, like: ir.Value) -> ir.Value:
    """A factor that is fed as a float32 scalar, in a scope and in another value's type."""
    return typed_like(scope, scopes.feed(name, ir.DataType.FLOAT, (), scope), like)


def typed_like(scope: Scope, value: ir.Value, like: ir.Value) -> ir.Value:
    """A float32 value in the type of another, which inside a function is often not known."""
    if like.dtype is ir.DataType.FLOAT:
        return value
    return scope.op("CastLike", [value, like], like.dtype)


def scalar(value: float) -> torch.Tensor:
    """What ``strength`` is fed."""
    return torch.tensor(value, dtype=torch.float32)
