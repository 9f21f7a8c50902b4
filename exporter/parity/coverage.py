"""What a set of cases cannot see, derived from a file's inputs and the model's conditions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from exporter.parity.cases import ParityCase
from exporter.parity.conditions import conditions
from exporter.parity.inputs import make_inputs
from exporter.runtime.contract import Contract
from exporter.types import Source


def unseen(source: Source, contract: Contract, cases: Sequence[ParityCase]) -> tuple[str, ...]:
    """What a file could do wrong without any of these cases telling.

    Args:
        source: The UNet.
        contract: The file's free axes and input types.
        cases: What is asked.

    Returns:
        One phrase each, e.g. ``batches above 3`` or ``990 of 1000 class labels``.
    """
    free = {axis for shape in contract.shapes.values() for axis in shape if axis}
    symbols = {axis for axis in free if isinstance(axis, str)}
    return (
        *(_sizes(cases) if symbols else ()),
        *_text(source, cases),
        *_time(contract, cases),
        *_labels(source, cases),
        *_conditions(source, cases),
    )


def _sizes(cases: Sequence[ParityCase]) -> Iterator[str]:
    batches = {case.batch for case in cases}
    if max(batches) < 2:
        yield "whether each sample of a batch has its own inputs"
    else:
        yield f"batches above {max(batches)}"
    heights, widths = {case.height for case in cases}, {case.width for case in cases}
    for axis, sizes in (("heights", heights), ("widths", widths)):
        if not any(size % 2 for size in sizes):
            yield f"odd {axis}"
        yield f"{axis} above {max(sizes)}"
    if all(case.height == case.width for case in cases):
        yield "height and width exchanged"


def _text(source: Source, cases: Sequence[ParityCase]) -> Iterator[str]:
    if any(spec.name == "encoder_hidden_states" for spec in source.inputs):
        yield f"text longer than {max(case.tokens for case in cases)} tokens"


def _time(contract: Contract, cases: Sequence[ParityCase]) -> Iterator[str]:
    steps = {step for case in cases for step in case.timesteps}
    yield f"timesteps below {max(min(steps), 0):g} and above {max(steps):g}"
    if not contract.integer_timestep and all(step % 1 == 0 for step in steps):
        yield "fractions of a timestep"
    if contract.timestep_per_sample and not any(
        len(set(case.timesteps)) > 1 for case in cases
    ):
        yield "a timestep for each sample"


def _labels(source: Source, cases: Sequence[ParityCase]) -> Iterator[str]:
    spec = next((s for s in source.inputs if s.name == "class_labels"), None)
    if spec is None or spec.dtype != "int64":
        return
    known = int(source.config.get("num_class_embeds") or 1)
    drawn: set[int] = set()
    for case in cases:
        drawn.update(make_inputs(case, source, "fp32")["class_labels"].tolist())
    if len(drawn) < known:
        yield f"{known - len(drawn)} of {known} class labels"


def _conditions(source: Source, cases: Sequence[ParityCase]) -> Iterator[str]:
    seen = max((case.batch - 1 for case in cases if case.contrast), default=0)
    for condition in conditions(source)[seen:]:
        yield f"{condition.name} weaker than the noise of a whole output"
