"""``scripts/bench floor``: why a graph has more nodes than it needs, kind by kind."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence

from bench_tools.floor import ALSO, ASKED, Floor, measure
from bench_tools.output import show

REASONS: Mapping[str, str] = {
    "bias of a MatMul": "a linear map with bias on a 3-D tensor is two standard operators, "
    "MatMul and Add; Gemm is one and takes 2-D only",
    "Transpose in Transformer2DModel": "from image to sequence, `(B, HW, C)`, and back",
    "Reshape in Transformer2DModel": "from image to sequence, `(B, HW, C)`, and back",
    "Shape in Transformer2DModel": "the size to come back to: what free, odd latents cost",
    "Shape in Upsample2D": "the size of the skip connection to meet: what odd latents cost",
    "Unsqueeze in ResnetBlock2D": "the time injection, `(T, C)`, beside an image: "
    "`(T, C, 1, 1)`",
    "Split in GEGLU": "one linear map makes value and gate; its halves",
    "Unsqueeze in Timesteps": "the timestep beside its frequencies, `(T, 1)`",
    "Reshape in Timesteps": "the six numbers of `time_ids` as one list of timesteps",
    "Reshape in UNet2DConditionModel": "the embeddings of `time_ids` side by side",
    "Concat in UNet2DConditionModel": "the pooled text joined with them",
    "Add in UNet2DConditionModel": "both added to the time embedding",
    "weight Transpose": "what linking costs: the file points at weights as PyTorch stores "
    "them. Not counted; `--weights packed` has none",
}
"""By what ``floor`` calls a node that the architecture does not need."""

COUNTED_APART = "weight Transpose"


def main(argv: Sequence[str]) -> int:
    """Prints one table for all presets asked for."""
    parser = argparse.ArgumentParser(prog="scripts/bench floor", description=__doc__)
    parser.add_argument("presets", nargs="*", default=["tiny", "sd15"], metavar="PRESET")
    show(markdown([measure(preset) for preset in parser.parse_args(argv).presets]))
    return 0


def markdown(floors: Sequence[Floor]) -> str:
    """One table: floor, rest of the equations, every surplus kind, sum; a column a preset."""
    names = [f"`{floor.name}`" for floor in floors]
    lines = [
        "| nodes | " + " | ".join(names) + " | why |",
        "|---" + "|---:" * len(floors) + "|---|",
        _line("**floor**", [str(floor.asked) for floor in floors], _kinds(ASKED)),
        _line("the rest of the equations", [_also(floor) for floor in floors], _kinds(ALSO)),
        *_surplus(floors),
        _line("**graph**", [f"{floor.nodes:,}" for floor in floors], ""),
        _line("× floor", [f"{floor.nodes / floor.asked:.2f}" for floor in floors], ""),
        _line(
            "× floor and equations",
            [f"{floor.nodes / floor.equations:.2f}" for floor in floors],
            "",
        ),
        _line(
            COUNTED_APART,
            [f"({floor.rest.get(COUNTED_APART, 0)})" for floor in floors],
            REASONS[COUNTED_APART],
        ),
    ]
    return "\n".join(lines)


def _surplus(floors: Sequence[Floor]) -> Iterator[str]:
    """Kinds that occur in any of the graphs, the most frequent first."""
    for kind in (*ASKED, *ALSO):
        above = [floor.found.get(kind, 0) - floor.needed.get(kind, 0) for floor in floors]
        if any(above):
            yield _line(f"{kind} above the floor", [f"{one:+d}" for one in above], "")
    kinds = {kind for floor in floors for kind in floor.rest} - {COUNTED_APART}
    for kind in sorted(kinds, key=lambda one: (-sum(f.rest.get(one, 0) for f in floors), one)):
        counts = [floor.rest.get(kind, 0) for floor in floors]
        yield _line(kind, [f"+{one}" if one else "–" for one in counts], REASONS.get(kind, ""))


def _also(floor: Floor) -> str:
    return f"+{floor.equations - floor.asked}"


def _kinds(kinds: Sequence[str]) -> str:
    return ", ".join(kinds)


def _line(title: str, cells: Sequence[str], why: str) -> str:
    return "| " + " | ".join((title, *cells, why)) + " |"
