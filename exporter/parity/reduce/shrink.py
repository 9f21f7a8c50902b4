"""The reduction: search, cut, freeze the sizes, narrow, and see that it still fails.

Nothing is bisected. The search has already compared every value with PyTorch's, so what lies
between the last right values and the first wrong one is known; what depends on sizes alone
becomes constants, since a case fixes them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import torch

from exporter.errors import ParityError, UsageError
from exporter.parity.cases import ParityCase
from exporter.parity.locate import DEPARTS, Departure, search
from exporter.parity.locate.match import arranged
from exporter.parity.reduce.build import build
from exporter.parity.reduce.cut import cut
from exporter.parity.reduce.narrow import narrow
from exporter.parity.reduce.reduction import Reduction
from exporter.parity.subject import Subject
from exporter.runtime.inlined import Inlined
from exporter.runtime.memory import give_back
from exporter.runtime.session import Array, adapt, open_session
from exporter.types import OnProgress, Provider, quiet


def reduce(
    onnx_path: Path, subject: Subject, case: ParityCase, *, on_progress: OnProgress = quiet
) -> Reduction:
    """Reduce a failing file to the nodes that are wrong.

    Args:
        onnx_path: The file; never written to.
        subject: What it should equal.
        case: An input on which it fails.
        on_progress: Told after each step of the search.

    Returns:
        A model of a few nodes, with inputs and PyTorch's answer, which fails by itself.

    Raises:
        ParityError: Nothing departs on this case, or nothing that fails by itself: ONNX
            Runtime's optimiser is at fault then, or the type of the output.
        UsageError: The file is bf16, whose numbers numpy cannot keep.
    """
    require_numbers(subject)
    location, departure = search(onnx_path, subject, case, on_progress=on_progress)
    if departure is None:
        raise ParityError(
            f"{onnx_path.name} cannot be reduced on {case.name}: {location.note or location}",
            do="choose a case on which a value departs with --case",
        )
    return reduce_departure(departure, subject, case)


def require_numbers(subject: Subject) -> None:
    """Refuses a dtype that numpy has not.

    Raises:
        UsageError: bf16.
    """
    if subject.dtype == "bf16":
        raise UsageError("--reduce of a bf16 file", "fp32 or fp16")


def reduce_departure(departure: Departure, subject: Subject, case: ParityCase) -> Reduction:
    """As ``reduce``, for what a search on this case has found already."""
    try:
        found = _reduced(departure, subject, case)
    except onnx.checker.ValidationError as error:
        reason = " ".join(str(error).split())[:200]
        raise ParityError(f"the faulty nodes are no valid ONNX alone: {reason}") from error
    if not found.fails:
        raise ParityError(
            f"it cannot be reduced on {case.name}: alone, {found.finding.node} is within the "
            "floor",
            do="look at the graph around it",
        )
    return found


def _reduced(departure: Departure, subject: Subject, case: ParityCase) -> Reduction:
    part, flat, reference = cut(departure), departure.flat, departure.reference
    wanted = [*part.fed, *part.frozen, *([part.end] if reference else ())]
    values = _values(flat, wanted, subject.inputs(case), subject.provider)

    def judged(values: Mapping[ir.Value, Array], expected: Array | None) -> Reduction:
        shapes = [values[value].ndim for value in part.fed]  # of what it would be made of
        rank = max(shapes, default=0) if expected is None else expected.ndim
        model, inputs = build(part, flat, values, departure.finding, rank)
        limit = DEPARTS * reference.floor if reference else 0.0
        error = _error(model, inputs, expected, subject.provider)
        return Reduction(model, inputs, expected, limit, error, case.name, departure.finding)

    if reference is None:
        return judged(values, None)
    got = values.pop(part.end)
    expected = arranged(got, reference.value)
    found = judged(values, expected)
    narrowed = narrow(part, values, expected, got) if found.fails else None
    less = judged(narrowed.values, narrowed.expected) if narrowed else found
    return less if less.fails else found


def _error(
    model: ir.Model, inputs: dict[str, Array], expected: Array | None, provider: Provider
) -> float:
    """How far off the model is when it is run as its script will run it."""
    data = bytes(ir.to_proto(model).SerializeToString())
    raw = open_session(data, provider).raw
    try:
        (got,) = raw.run(None, inputs)
    except Exception:  # the binding raises one class per status code; here it is the finding
        return math.inf
    # Where ONNX Runtime stopped and does not now, what is left is not at fault.
    return 0.0 if expected is None else rms(got, expected)


def rms(got: Array, expected: Array) -> float:
    """Root mean square of a difference; infinite where it is not finite."""
    with np.errstate(invalid="ignore", over="ignore"):
        found = float(np.sqrt(np.mean(np.square(got.astype(np.float64) - expected))))
    return found if math.isfinite(found) else math.inf


def _values(
    flat: Inlined,
    wanted: list[ir.Value],
    inputs: Mapping[str, torch.Tensor],
    provider: Provider,
) -> dict[ir.Value, Array]:
    """Values as the whole file has them: constants, inputs, and what nodes make."""
    found: dict[ir.Value, Array] = {}
    made: dict[str | None, ir.Value] = {}
    given: dict[str | None, ir.Value] = {}
    for value in wanted:
        if value.const_value is not None:
            found[value] = np.asarray(value.const_value.numpy())
        else:
            (given if value.producer() is None else made)[value.name] = value
    if not (made or given):
        return found
    asked = made or {flat.nodes[0].outputs[0].name: flat.nodes[0].outputs[0]}
    data = flat.instrumented(asked.values())
    session = open_session(data, provider, weights_folder=flat.folder)
    if made:
        found |= {made[name]: array for name, array in session.run(inputs).items()}
    for spec in session.raw.get_inputs():
        if spec.name in given:
            found[given[spec.name]] = adapt(spec, inputs).numpy()
    del session
    give_back()
    return found
