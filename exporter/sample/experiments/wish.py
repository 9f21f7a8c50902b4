"""What an experiment was asked to be, as it is written on a command line."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from exporter.errors import UsageError

KINDS = {
    "skip": "the skip of an id, or all that arrive in a module",
    "attn": "what attentions add to the image",
    "cross": "what cross-attentions alone add",
    "self": "what self-attentions alone add",
    "head": "one head of a cross-attention",
    "ff": "what feed-forward networks add",
    "transformer": "what transformers as a whole add",
    "resnet": "what the branch of a resnet adds",
    "block": "what all resnets and transformers of a block add",
    "time": "the time vector where it meets the image",
    "word": "how much attention a word of the prompt gets",
    "guidance": "uncond or cond: one half of guidance; off, the other one speaks for both",
}
"""What can be switched off or scaled, and what stands behind the colon."""

MOST = 1000.0
"""Largest factor: what is larger overflows, and tells nobody anything."""

ALL = "all"
"""The place that means every place of a kind."""


@dataclass(frozen=True)
class Steps:
    """A range of evaluations of the UNet, counted from 1, both ends included.

    Attributes:
        first: The first one.
        last: The last one; None for the last of the run.
    """

    first: int = 1
    last: int | None = None

    def __contains__(self, index: int) -> bool:
        """Whether an evaluation, counted from 0, is among them."""
        return self.first <= index + 1 and (self.last is None or index < self.last)

    def __str__(self) -> str:
        if (self.first, self.last) == (1, None):
            return ""
        if self.first == self.last:
            return f"@{self.first}"
        return f"@{self.first}-{self.last or ''}"


@dataclass(frozen=True)
class Wish:
    """One intervention.

    Attributes:
        kind: One of ``KINDS``, ``swap`` or ``freeu``.
        place: What of that kind: a module path, a skip's id, a word, a half, two words.
        factors: What it is multiplied by: one factor, FreeU's four, or none for ``swap``.
        steps: When.
    """

    kind: str
    place: str
    factors: tuple[float, ...] = (0.0,)
    steps: Steps = Steps()

    def __str__(self) -> str:
        what = f"{self.kind}:{self.place}" if self.place else self.kind
        if self.factors:
            what += "=" + ",".join(f"{factor:g}" for factor in self.factors)
        return f"{what}{self.steps}"


def without(text: str) -> Wish:
    """``KIND:PLACE[@STEPS]``: switched off.

    Raises:
        UsageError: Another form, an unknown kind, or steps that are none.
    """
    body, steps = _steps(text)
    return Wish(*_kind(body), steps=steps)


def scaled(text: str) -> Wish:
    """``KIND:PLACE=FACTOR[@STEPS]``: multiplied; see ``without``."""
    body, steps = _steps(text)
    named, equals, factor = body.rpartition("=")
    if not equals:
        raise UsageError(text or "nothing", "KIND:PLACE=FACTOR, e.g. skip:3=0.5")
    return Wish(*_kind(named), (_number(factor, text),), steps)


def masked(text: str) -> Wish:
    """``WORD[/MODULE[#HEAD]][@STEPS]``: a word that no cross-attention, or none there, sees.

    See ``without``.
    """
    word, steps = _steps(text)
    if not word:
        raise UsageError("no word", "a word of the prompt")
    return Wish("word", word, steps=steps)


def swapped(text: str) -> Wish:
    """``WORD,WORD[@STEPS]``: two words whose embeddings change places; see ``without``."""
    body, steps = _steps(text)
    if len([word for word in body.split(",") if word]) != 2:
        raise UsageError(text or "nothing", "two words, e.g. red,blue")
    return Wish("swap", body, (), steps)


def freeu(text: str) -> Wish:
    """``S1,S2,B1,B2[@STEPS]``, in the order of diffusers' ``enable_freeu``."""
    body, steps = _steps(text)
    factors = tuple(_number(part, text) for part in body.split(","))
    if len(factors) != 4:
        raise UsageError(text or "nothing", "S1,S2,B1,B2, e.g. 0.9,0.2,1.5,1.6")
    return Wish("freeu", "", factors, steps)


def nearest(text: str, known: Sequence[str]) -> str:
    """``nearest: X``, or nothing where nothing is known."""
    found = difflib.get_close_matches(text[:200], known, n=1, cutoff=0)
    return f"nearest: {found[0]}" if found else ""


def _kind(text: str) -> tuple[str, str]:
    kind, colon, place = text.partition(":")
    if not colon or not place:
        raise UsageError(
            text or "nothing", "KIND:PLACE, e.g. skip:3", "see docs/EXPERIMENTS.md"
        )
    if kind not in KINDS:
        raise UsageError(
            text or "nothing", f"one of {', '.join(KINDS)}", nearest(kind, [*KINDS])
        )
    return kind, place


def _steps(text: str) -> tuple[str, Steps]:
    body, at, span = text.rpartition("@")
    if not at:
        return text, Steps()
    match = re.fullmatch(r"(\d{1,6})?(-)?(\d{1,6})?", span)
    first, last = (match[1], match[3]) if match else (None, None)
    if match is None or not (first or last):
        raise UsageError(f"@{span} as steps", "@5, @1-5, @5- or @-5, the first being 1")
    start = int(first or 1)
    end = int(last) if last else None if match[2] else start
    if start < 1 or (end is not None and end < start):
        raise UsageError(f"@{span} as steps", "a range that begins at 1 or later, e.g. @1-5")
    return body, Steps(start, end)


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) <= MOST:  # NaN neither
        told = f"a number from -{MOST:g} to {MOST:g}, e.g. 0.5"
        raise UsageError(f"{where or 'nothing'}: {text!r} as factor", told)
    return value
