"""Two recordings of one model side by side: what differs in image, curves and maps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from viewer.errors import RecordingError
from viewer.model.recording import Array, Quantity, Recording, experiment

RUN_KEYS = ("scheduler_class", "steps", "evaluations", "guidance", "seed", "height", "width")


@dataclass(frozen=True)
class Change:
    """A quantity at every step and place, in the row of the prompt.

    Attributes:
        quantity: Of the first recording.
        values: Second less first, (N, places), float32.
    """

    quantity: Quantity
    values: Array


@dataclass(frozen=True)
class Contrast:
    """What two recordings differ in.

    Attributes:
        a: The first one, that the second is measured against.
        b: The second one.
        asked: What was asked for differently: key to both values.
        image: rms of the difference of the latents over rms of the first's; from the noise
            that both began with to the finished ones, N+1, or of the finished ones alone.
        predicted: The same of ``out_sample``, N, or none.
        changes: Quantities that both know; none where the steps are not the same.
        maps: Of each cross-attention by module, the share of attention that went elsewhere
            at every step, mean over pixels: (N,) from 0 to 1.
        tokens: Of each cross-attention, the change of what every token gets, (N, S).
    """

    a: Recording
    b: Recording
    asked: Mapping[str, tuple[Any, Any]]
    image: Array
    predicted: Array
    changes: tuple[Change, ...]
    maps: Mapping[str, Array]
    tokens: Mapping[str, Array]

    def to_json(self) -> dict[str, Any]:
        """All of it, numbers rounded to six digits."""
        return {
            "recordings": [self.a.path.name, self.b.path.name],
            "asked": {key: list(values) for key, values in self.asked.items()},
            "image": _numbers(self.image),
            "out_sample": _numbers(self.predicted),
            "quantities": {
                change.quantity.name: [
                    {"module": place.module, "label": place.label, "change": _numbers(column)}
                    for place, column in zip(
                        change.quantity.places, change.values.T, strict=True
                    )
                ]
                for change in self.changes
            },
            "attention": [
                {
                    "module": module,
                    "moved": _numbers(moved),
                    "tokens": [_numbers(row) for row in self.tokens[module]],
                }
                for module, moved in self.maps.items()
            ],
        }

    def summary(self) -> Iterator[str]:
        """Lines for a terminal."""
        for key, (one, other) in self.asked.items():
            yield f"{key}: {_short(one)} -> {_short(other)}"
        yield f"image: the finished latents differ by {self.image[-1]:.1%} (rms over rms)"
        if len(self.predicted):
            most = int(np.argmax(self.predicted))
            yield f"prediction: most at step {most + 1}, by {self.predicted[most]:.1%}"
        if self.maps:
            module = max(self.maps, key=lambda name: float(self.maps[name].mean()))
            moved = float(self.maps[module].mean())
            yield f"attention: {moved:.1%} of it moves in {module}, where most does"


def contrast(a: Recording, b: Recording) -> Contrast:
    """Compares the second recording with the first one.

    Raises:
        RecordingError: A sweep, another model, or latents of another size.
    """
    _guard(a, b)
    row = a.rows.index("cond"), b.rows.index("cond")
    stepwise = a.steps == b.steps
    both = [recording.read("latents").astype(np.float64) for recording in (a, b)]
    if not stepwise:
        both = [latents[-1:] for latents in both]
    maps = dict(_maps(a, b, row)) if stepwise else {}
    return Contrast(
        a,
        b,
        dict(_asked(a, b)),
        _relative(both[1] - both[0], both[0]),
        _predicted(a, b, row) if stepwise else np.zeros(0),
        tuple(_changes(a, b, row)) if stepwise else (),
        {module: moved for module, (moved, _) in maps.items()},
        {module: tokens for module, (_, tokens) in maps.items()},
    )


def _guard(a: Recording, b: Recording) -> None:
    for recording in (a, b):
        if recording.kind != "sampling" or "latents" not in recording.shapes:
            raise RecordingError(f"{recording.path.name} is a sweep", "two samplings")
        if "cond" not in recording.rows:
            raise RecordingError(f"{recording.path.name} has no conditional row")
    modules = [[block.get("module") for block in r.listed("blocks")] for r in (a, b)]
    if modules[0] != modules[1]:
        odd = next(
            (str(m) for m in modules[1] if m not in modules[0]), f"{len(modules[1])} blocks"
        )
        raise RecordingError(
            f"{b.path.name} is a recording of another model: {odd}",
            f"the one of {a.path.name}",
        )
    sizes = [r.shapes["latents"][1:] for r in (a, b)]
    if sizes[0] != sizes[1]:
        told = ["x".join(map(str, size)) for size in sizes]
        raise RecordingError(f"latents of {told[1]} in {b.path.name}", told[0])


def _asked(a: Recording, b: Recording) -> Iterator[tuple[str, tuple[Any, Any]]]:
    def told(recording: Recording) -> dict[str, Any]:
        run, prompt = (_mapping(recording.metadata.get(key)) for key in ("run", "prompt"))
        model = _mapping(recording.metadata.get("model"))
        texts = prompt.get("text")
        text = texts[-1] if isinstance(texts, list) and texts else ""
        return {
            "model": model.get("name"),
            "weights": model.get("weights"),
            "prompt": text,
            **{key: run.get(key) for key in RUN_KEYS},
            "experiments": recording.metadata.get("experiments", []),
        }

    ones, others = told(a), told(b)
    for key, one in ones.items():
        if one != others[key]:
            yield key, (one, others[key])


def _predicted(a: Recording, b: Recording, row: tuple[int, int]) -> Array:
    if any("out_sample" not in recording.shapes for recording in (a, b)):
        return np.zeros(0)
    one, other = (
        recording.read("out_sample")[:, at].astype(np.float64)
        for recording, at in zip((a, b), row, strict=True)
    )
    return _relative(other - one, one)


def _changes(a: Recording, b: Recording, row: tuple[int, int]) -> Iterator[Change]:
    known = {quantity.name: quantity for quantity in b.quantities}
    for quantity in a.quantities:
        other = known.get(quantity.name)
        if other is not None and other.places == quantity.places:
            yield Change(quantity, other.values[:, row[1]] - quantity.values[:, row[0]])


def _maps(
    a: Recording, b: Recording, row: tuple[int, int]
) -> Iterator[tuple[str, tuple[Array, Array]]]:
    """A step at a time: memory holds two maps, however long the recordings are."""
    for index, attention in enumerate(a.listed("attentions")):
        name = f"attention.map.{index}"
        sizes = [recording.shapes.get(name, ())[2:] for recording in (a, b)]
        if not sizes[0] or sizes[0] != sizes[1]:  # no maps, or of another number of tokens
            continue
        moved, tokens = [], []
        for step in range(a.steps):
            one = a.step(name, step)[row[0]].astype(np.float32)
            other = b.step(name, step)[row[1]].astype(np.float32)
            moved.append(np.abs(other - one).sum(0).mean() / 2)
            tokens.append((other - one).mean((1, 2)))
        yield str(attention.get("module", name)), (np.array(moved), np.stack(tokens))


def _relative(difference: Array, of: Array) -> Array:
    """A difference over what it is from, both rms, along all axes but the first."""
    axes = tuple(range(1, of.ndim))
    size = np.sqrt(np.square(of).mean(axes))
    found: Array = np.sqrt(np.square(difference).mean(axes)) / np.maximum(size, 1e-12)
    return found


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _numbers(values: Array) -> list[float]:
    return [float(f"{value:.6g}") for value in np.nan_to_num(values)]


def _short(value: Any) -> str:
    if isinstance(value, list):
        found = [item for item in value if isinstance(item, dict)]
        return ", ".join(map(experiment, found)) or "none"
    return str(value)[:80]
