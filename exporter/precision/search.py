"""The search: modules in the order of what they cost, the shortest prefix, and less of it.

One profile orders the units and predicts how many must be kept, since errors of different
units add like independent ones: the square of the whole is the sum of the squares. A gallop
from the prediction, then a bisection, finds the shortest prefix that meets the limit: two
evaluations where the prediction is right, at most about twice the logarithm of the number of
units otherwise. Then kept units, the cheapest first, are let go of if the limit still holds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from exporter.call import call
from exporter.errors import ParityError
from exporter.parity.ask import loaded
from exporter.parity.cases import ParityCase
from exporter.parity.precision import ComputeIn, HalfStorage
from exporter.parity.subject import Subject
from exporter.precision.profile import profile
from exporter.precision.recipe import Log, Recipe
from exporter.precision.units import units
from exporter.runtime.session import Array
from exporter.types import Dtype, OnProgress, Progress, Source, quiet

CASE = ParityCase(1, 24, 16, 77, 500.0)
"""What precision is judged on: every module runs, at little cost."""

Evaluate = Callable[[Sequence[str]], float]


def search(
    source: Source,
    dtype: Dtype,
    limit: float,
    *,
    case: ParityCase = CASE,
    log: Log | None = None,
    on_progress: OnProgress = quiet,
) -> Recipe:
    """The fewest units to keep in float32 for a relative error of at most ``limit``.

    The error is PyTorch's: what the file's dtype does to the output, whoever runs it, relative
    (root mean square) to float32 on the weights as stored.

    Args:
        source: The UNet.
        dtype: ``fp16`` or ``bf16``.
        limit: Relative error allowed.
        case: The input that it is measured on.
        log: What was measured before; added to.
        on_progress: Told of every evaluation.

    Raises:
        ParityError: The limit is not met even with every unit in float32.
    """
    log = log or Log(None, {})
    if not log.table:
        log.table = _profile(source, dtype, case)
        log.save()
    evaluate = _remembered(_evaluator(source, dtype, case), log, on_progress)
    order = sorted(log.table, key=lambda path: -log.table[path])
    count = shortest(order, log.table, limit, evaluate)
    kept = thinned(order[:count], log.table, limit, evaluate)
    error = evaluate(kept)
    return Recipe(dtype, limit, error, tuple(kept), log.table, len(log.errors))


def shortest(
    order: Sequence[str], table: Mapping[str, float], limit: float, evaluate: Evaluate
) -> int:
    """How many units, the costliest first, must be kept.

    Raises:
        ParityError: All of them are not enough.
    """

    def meets(count: int) -> bool:
        return evaluate(order[:count]) <= limit

    guess = predicted([table[path] for path in order], limit)
    low, high = _fewer(guess, meets) if meets(guess) else _more(guess, len(order), meets)
    if high > len(order):
        raise ParityError(
            f"a relative error of {limit:g} is not met with every module in fp32: "
            f"{evaluate(order):.2g}, from what is rounded between them",
            do="allow more with --max-error",
        )
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if meets(middle) else (middle, high)
    return high


def _fewer(enough: int, meets: Callable[[int], bool]) -> tuple[int, int]:
    """Too few and enough, by steps that double downwards; -1 are always too few."""
    step = 1
    while enough - step >= 0 and meets(enough - step):
        enough, step = enough - step, 2 * step
    return max(enough - step, -1), enough


def _more(few: int, most: int, meets: Callable[[int], bool]) -> tuple[int, int]:
    """The same upwards; one more than all is what all of them are too few for."""
    step = 1
    while few < most:
        count = min(few + step, most)
        if meets(count):
            return few, count
        few, step = count, 2 * step
    return most, most + 1


def predicted(costs: Sequence[float], limit: float) -> int:
    """How many of the first must go so that the squares of the others sum to less."""
    rest = 0.0
    for index in range(len(costs), 0, -1):
        rest += costs[index - 1] ** 2
        if not rest <= limit**2:
            return index
    return 0


def thinned(
    kept: Sequence[str], table: Mapping[str, float], limit: float, evaluate: Evaluate
) -> list[str]:
    """The kept units without those not needed; a logarithm of tries, the cheapest first."""
    left = list(kept)
    tries = max(1, math.ceil(math.log2(len(table) or 1)) // 2)
    finite = [path for path in reversed(left[:-1]) if math.isfinite(table[path])]
    for path in finite[:tries]:
        fewer = [other for other in left if other != path]
        if evaluate(fewer) <= limit:
            left = fewer
    return left


def _remembered(evaluate: Evaluate, log: Log, on_progress: OnProgress) -> Evaluate:
    def remembered(kept: Sequence[str]) -> float:
        key = " ".join(sorted(kept))
        if key not in log.errors:
            log.errors[key] = evaluate(kept)
            log.save()
            most = 2 * math.ceil(math.log2(len(log.table) or 1))
            on_progress(Progress("precision", len(log.errors), most, "evaluations"))
        return log.errors[key]

    return remembered


def _profile(source: Source, dtype: Dtype, case: ParityCase) -> dict[str, float]:
    subject = Subject(source)
    half = Subject(source, dtype).torch_dtype
    with loaded(subject) as unet:
        return profile(unet, subject.inputs(case), units(unet), half)


def _evaluator(source: Source, dtype: Dtype, case: ParityCase) -> Evaluate:
    inputs = Subject(source).inputs(case)
    truth: list[Array] = []

    def evaluate(kept: Sequence[str]) -> float:
        if not truth:
            with loaded(Subject(source)) as unet, ComputeIn(torch.float32):
                truth.append(call(unet, inputs).numpy())
        subject = Subject(source, dtype, tuple(kept))
        rounded = {
            name: value.to(subject.torch_dtype) if name in _followers(source) else value
            for name, value in inputs.items()
        }
        with loaded(subject) as unet, HalfStorage():
            output = call(unet, rounded).float().numpy()
        return relative(output, truth[0])

    return evaluate


def _followers(source: Source) -> frozenset[str]:
    """Inputs that follow the model's dtype."""
    return frozenset(spec.name for spec in source.inputs if spec.dtype == "model")


def relative(ours: Array, truth: Array) -> float:
    """Root mean square of a difference over that of the truth; infinite if not finite."""
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.linalg.norm((ours.astype(np.float64) - truth).ravel())
    found = float(error / (np.linalg.norm(truth.astype(np.float64).ravel()) or 1.0))
    return found if math.isfinite(found) else math.inf
