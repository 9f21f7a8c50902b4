"""Where each word of the prompt is looked for: maps of all its tokens, layers put together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from viewer.errors import RecordingError
from viewer.model.recording import Array, Recording

SPECIAL = "<|"  # what the tokens begin with that stand for no word


@dataclass(frozen=True)
class Word:
    """A token of the prompt, or several of one word.

    Attributes:
        text: What it says.
        tokens: Positions.
    """

    text: str
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class Choice:
    """Which maps are put together.

    Attributes:
        layers: Indices of ``attentions``; none for all of them.
        head: One head, which needs a recording with ``--heads``; None for their mean.
        special: False leaves start and end tokens out: the rest is scaled to sum to 1.
    """

    layers: tuple[int, ...] = ()
    head: int | None = None
    special: bool = True


def words(recording: Recording, row: int) -> tuple[Word, ...]:
    """The words of a row; a recording that does not tell has one a token."""
    prompt = recording.metadata.get("prompt")
    told = prompt.get("words") if isinstance(prompt, dict) else None
    rows = told if isinstance(told, list) else []
    found = rows[row] if row < len(rows) and isinstance(rows[row], list) else []
    if found:
        return tuple(Word(str(text), tuple(map(int, tokens))) for text, tokens in found)
    return tuple(Word(text, (at,)) for at, text in enumerate(recording.tokens(row)))


def word_maps(
    recording: Recording, said: Sequence[Word], row: int, choice: Choice
) -> Iterator[Array]:
    """For each step, what every word gets of each pixel's attention.

    Args:
        recording: With maps.
        said: Words of the row.
        row: Which half.
        choice: Which layers and heads, and whether special tokens count.

    Yields:
        (words, h, w) float32, as large as the largest map, the mean over the layers; smaller
        maps are enlarged bilinearly.

    Raises:
        RecordingError: No maps, no such layer or head.
    """
    names = _names(recording, choice)
    size = max((recording.shapes[name][-2:] for name in names), key=lambda size: size[0])
    special = [
        at for at, token in enumerate(recording.tokens(row)) if token.startswith(SPECIAL)
    ]
    for step in range(recording.steps):
        total = np.zeros((len(said), *size))
        for name in names:
            maps = recording.step(name, step)[row].astype(np.float64)
            maps = maps if choice.head is None else maps[choice.head]
            if not choice.special:
                maps[special] = 0
                maps /= np.maximum(maps.sum(0), 1e-12)
            each = np.stack([maps[list(word.tokens)].sum(0) for word in said])
            total += enlarged(each, size)
        yield (total / len(names)).astype(np.float32)


def enlarged(maps: Array, size: tuple[int, ...]) -> Array:
    """(..., h, w) to (..., height, width), bilinear, pixels being areas."""
    for axis, wanted in zip((-2, -1), size, strict=True):
        have = maps.shape[axis]
        at = np.clip((np.arange(wanted) + 0.5) * have / wanted - 0.5, 0, have - 1)
        low = np.floor(at).astype(int)
        high, share = np.minimum(low + 1, have - 1), at - low
        share = share[:, None] if axis == -2 else share
        maps = np.take(maps, low, axis) * (1 - share) + np.take(maps, high, axis) * share
    return maps


def _names(recording: Recording, choice: Choice) -> list[str]:
    kind = "map" if choice.head is None else "heads"
    known = [
        index
        for index in range(len(recording.listed("attentions")))
        if f"attention.{kind}.{index}" in recording.shapes
    ]
    if not known:
        need = "one of exporter.sample " + ("with maps" if kind == "map" else "--heads")
        raise RecordingError(f"{recording.path.name} has no attention maps of that kind", need)
    chosen = list(choice.layers) or known
    names = [f"attention.{kind}.{index}" for index in chosen]
    for index, name in zip(chosen, names, strict=True):
        if index not in known:
            raise RecordingError(
                f"layer {index + 1}", f"one of {', '.join(str(k + 1) for k in known)}"
            )
        if choice.head is not None and not 0 <= choice.head < recording.shapes[name][2]:
            raise RecordingError(
                f"head {choice.head + 1} of layer {index + 1}",
                f"1 to {recording.shapes[name][2]}",
            )
    return names
