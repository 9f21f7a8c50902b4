"""Which inputs the two backends are compared on: one case, and the matrices of them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from exporter.errors import UsageError
from exporter.inputs import HINTS
from exporter.parity.conditions import conditions as conditions_of
from exporter.runtime.contract import Contract
from exporter.types import Source

CaseSet = Literal["smoke", "standard", "full"]

TRACED = (HINTS["H"], HINTS["W"])
"""Latent height and width that our own exporter traces at."""

MOST_CLASSES = 32
"""Classes that one batch may hold to see each of them."""

_PATTERN = re.compile(
    r"B(\d+)H(\d+)W(\d+)(?:S(\d+))?(?:T(B?)(\d+(?:\.\d+)?))?(D?)(?:L(\d+))?", re.IGNORECASE
)


@dataclass(frozen=True)
class ParityCase:
    """One input shape and timestep on which both backends run.

    Attributes:
        batch: Number of latents.
        height: Latent height (not the image's, which is eight times as large).
        width: Latent width.
        tokens: Length of ``encoder_hidden_states``; without meaning for a model without text.
        timestep: Scheduler timestep from 0 to 999, possibly fractional.
        per_sample: Each latent of the batch has a timestep of its own, ``timestep`` being the
            first and largest.
        contrast: The samples are alike but for one condition each (``conditions``), of which
            the time is the second sample's: what each condition changes is judged too.
        seed: Seed of every random number of the case.
        lora: Least rank of a random LoRA, for a file that takes one; 0 for none.
    """

    batch: int
    height: int
    width: int
    tokens: int = 77
    timestep: float = 500.0
    per_sample: bool = False
    contrast: bool = False
    seed: int = 0
    lora: int = 0

    @property
    def name(self) -> str:
        """As ``--case`` reads it, e.g. ``B2H96W64S77T500``.

        ``TB500`` has one timestep for each sample; ``D`` at the end is a contrast, ``L4`` a
        random LoRA of rank 4.
        """
        each = "TB" if self.per_sample else "T"
        size = f"B{self.batch}H{self.height}W{self.width}S{self.tokens}"
        lora = f"L{self.lora}" if self.lora else ""
        return f"{size}{each}{self.timestep:g}{'D' if self.contrast else ''}{lora}"

    @property
    def timesteps(self) -> tuple[float, ...]:
        """One for the whole batch, or one per sample: falling to half of the first.

        Where conditions are contrasted, only the second sample's is another: a quarter.
        """
        if not self.per_sample:
            return (self.timestep,)
        if self.contrast:
            rest = (self.timestep,) * (self.batch - 2)
            return (self.timestep, self.timestep / 4, *rest)[: self.batch]
        return tuple(self.timestep * (1 - i / 2 / self.batch) for i in range(self.batch))

    @property
    def size(self) -> int:
        """Latent pixels in all: what a case costs, roughly."""
        return self.batch * self.height * self.width

    @classmethod
    def parse(cls, text: str) -> ParityCase:
        """Read ``B2H96W64S77``, ``B2H96W64S77T261.5``, ``...TB261.5``, ``...D``, ``...L4``.

        S is 77 and T 500 unless given.

        Raises:
            UsageError: If the text has another form or a size of zero.
        """
        match = _PATTERN.fullmatch(text.strip())
        if match is None:
            raise UsageError(f"case {text!r}", "a form like B2H96W64S77 or B1H33W35S77T999")
        batch, height, width = (int(part) for part in match.groups()[:3])
        tokens = int(match[4]) if match[4] else 77
        if not (batch and height and width and tokens):
            raise UsageError(f"case {text!r} has a size of zero", "sizes from 1")
        timestep = float(match[6]) if match[6] else 500.0
        each, contrast = bool(match[5]), bool(match[7])
        lora = int(match[8] or 0)
        return cls(batch, height, width, tokens, timestep, each, contrast, lora=lora)


_SMOKE = (
    ParityCase(1, 67, 17, 154, 0.0),
    ParityCase(2, 8, 64, 1, 740.5),
    ParityCase(3, 8, 16, 77, 996.0, per_sample=True, contrast=True),
)
"""The check of every export, chosen by what it tells apart for its size: no time at all, a
fraction and a late one; one timestep for a batch and one for each; text shorter and longer
than CLIP's; odd and even, larger and smaller than traced; every condition by itself."""

_LORA = ParityCase(2, 9, 8, timestep=261.25, lora=3)
"""A LoRA whose ranks are 3 and 4 in turn: every module has its own."""

_STANDARD = (
    *_SMOKE,
    ParityCase(1, 33, 35, 77, 999.0),
    ParityCase(3, 16, 24, 32, 261.25, per_sample=True),
    ParityCase(2, 24, 16, 1, 1.0),
    ParityCase(2, *TRACED, 77, 500.0),
    ParityCase(1, 64, 64, 77, 981.0),
    ParityCase(2, 32, 32, 154, 0.0),
    ParityCase(1, 24, 48, 77, 21.0),
    ParityCase(1, 8, 8, 1, 999.0),
    ParityCase(3, 15, 9, 154, 740.5),
)

_AXES: tuple[Sequence[int], Sequence[tuple[int, int]], Sequence[int], Sequence[float]] = (
    (1, 2, 3),
    (TRACED, (16, 24), (80, 72), (33, 35), (24, 48), (8, 8)),
    (1, 77, 154),
    (999.0, 500.0, 0.0, 261.25),
)


def matrix(
    which: CaseSet, *, size_multiple: int = 1, text: bool = True, conditions: int = 2
) -> tuple[ParityCase, ...]:
    """The cases of one set, fitted to what the model takes.

    ``smoke`` is the exporter's own check; ``standard`` takes every value of every axis (batch
    1, 2, 3; traced, smaller, larger, odd and non-square sizes; 1, 77 and 154 tokens; first,
    middle, last and fractional timesteps); ``full`` takes every *pair* of values.

    Args:
        which: Name of the set.
        size_multiple: Sizes are rounded up to multiples of this.
        text: Whether the model reads text; without it cases that differ only there are one.
        conditions: How many conditions the model has: one sample each where they are
            contrasted, beside the one that all are compared with.
    """
    chosen: Iterable[ParityCase]
    if which == "full":
        chosen = (*_STANDARD, *_pairwise())
    else:
        chosen = _SMOKE if which == "smoke" else _STANDARD
    fitting = (fit(case, size_multiple, text) for case in chosen)
    return tuple(
        dict.fromkeys(
            replace(case, batch=1 + conditions) if case.contrast else case for case in fitting
        )
    )


def cases_of(source: Source, which: CaseSet = "smoke") -> tuple[ParityCase, ...]:
    """The cases of one set for one UNet; see ``matrix``.

    A short table of classes is asked whole, in one batch of the smallest images; a file that
    takes a LoRA is asked once with one.
    """
    names = {spec.name: spec for spec in source.inputs}
    text = "encoder_hidden_states" in names
    found = matrix(
        which,
        size_multiple=source.size_multiple,
        text=text,
        conditions=len(conditions_of(source)),
    )
    if _takes_logarithm(source):
        found = tuple(dict.fromkeys(replace(c, timestep=c.timestep or 1.0) for c in found))
    if source.lora:
        found = (*found, fit(replace(_LORA, tokens=9), source.size_multiple, text))
    labels = names.get("class_labels")
    classes = int(source.config.get("num_class_embeds") or 0)
    if labels is None or labels.dtype != "int64" or not 3 < classes <= MOST_CLASSES:
        return found
    return (*found, fit(ParityCase(classes, 8, 8, 1, 500.0), source.size_multiple, text))


def _takes_logarithm(source: Source) -> bool:
    """Whether the time is embedded by its logarithm: PyTorch itself knows none of 0."""
    fourier = source.config.get("time_embedding_type") == "fourier"
    return fourier and source.class_name == "UNet2DModel"


def fit(case: ParityCase, size_multiple: int, text: bool = True) -> ParityCase:
    """The same case with sizes rounded up to ``size_multiple`` and 77 tokens without text."""
    height, width = (-(-x // size_multiple) * size_multiple for x in (case.height, case.width))
    return replace(case, height=height, width=width, tokens=case.tokens if text else 77)


def fitted(case: ParityCase, contract: Contract) -> ParityCase:
    """The case with a timestep that a file can be given: whole, or one for the batch."""
    if not contract.timestep_per_sample:
        case = replace(case, per_sample=False)
    if contract.integer_timestep:
        case = replace(case, timestep=float(int(case.timestep)))
    return case


def refusal(case: ParityCase, contract: Contract) -> str:
    """Why a file cannot be asked this case; empty where it can."""
    if contract.integer_timestep and any(step % 1 for step in case.timesteps):
        return f"{case.name}: timestep is an integer in this file"
    if case.per_sample and not contract.timestep_per_sample:
        return f"{case.name}: timestep is one for the whole batch in this file"
    if case.lora and not contract.defaults:
        return f"{case.name}: this file takes no LoRA"
    text = contract.shapes.get("encoder_hidden_states", ())
    wanted = {
        "sample": (case.batch, None, case.height, case.width),
        "encoder_hidden_states": (case.batch, case.tokens, None)[: len(text)],
    }
    for name, sizes in wanted.items():
        fixed = contract.shapes.get(name, ())
        for axis, size in zip(fixed, sizes, strict=False):
            if isinstance(axis, int) and size is not None and axis != size:
                return f"{case.name}: {name} is fixed at {list(fixed)}"
    return ""


def _pairwise() -> Iterator[ParityCase]:
    """A greedy covering array: every pair of values of two axes occurs in some case."""
    rows = list(itertools.product(*_AXES))
    axes = list(itertools.combinations(range(len(_AXES)), 2))
    missing = {(i, j, row[i], row[j]) for row in rows for i, j in axes}
    while missing:
        best = max(
            rows, key=lambda row: sum((i, j, row[i], row[j]) in missing for i, j in axes)
        )
        missing -= {(i, j, best[i], best[j]) for i, j in axes}
        batch, (height, width), tokens, timestep = best
        yield ParityCase(batch, height, width, tokens, timestep)
