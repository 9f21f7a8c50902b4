"""The search: two ONNX Runtime sessions, the first over modules, the second over operators.

1. PyTorch runs once and the output of every module that holds others is kept. One session on a
   copy of the graph, whose extra outputs are what each module hands on, is compared with them;
   the first value in topological order that departs ends a region that begins at the last
   values that are right.
2. Inside that region alone, every torch call is kept and every value asked for. Values that
   have an equal in PyTorch are right, whatever they are called; what remains leads to the
   departure, and its first operator with a counterpart in PyTorch is the finding.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx_ir as ir
import torch

from exporter.errors import ParityError
from exporter.parity.cases import ParityCase
from exporter.parity.inputs import make_inputs
from exporter.parity.locate.culprit import Region, judge, stopped
from exporter.parity.locate.finding import Finding, Location
from exporter.parity.locate.match import Match, Point, distance
from exporter.parity.locate.overflow import keep_in_fp32
from exporter.parity.locate.points import points
from exporter.parity.locate.ranges import overflows
from exporter.parity.reference import loaded
from exporter.runtime.inlined import Inlined, is_data, load_inlined
from exporter.runtime.memory import give_back, peak_memory
from exporter.runtime.session import Array, open_session
from exporter.types import Dtype, OnProgress, Progress, Provider, Source, quiet

DEPARTS = 8.0
"""Noise floors beyond which a value departs. Two honest backends are 1 to 2 apart."""


@dataclass(frozen=True)
class _Target:
    """What is searched, on which input."""

    path: Path
    source: Source
    dtype: Dtype
    keep_fp32: Sequence[str]
    provider: Provider
    inputs: Mapping[str, torch.Tensor]


def locate(
    onnx_path: Path,
    source: Source,
    case: ParityCase,
    *,
    dtype: Dtype = "fp32",
    keep_fp32: Sequence[str] = (),
    provider: Provider = "auto",
    on_progress: OnProgress = quiet,
) -> Location:
    """Find the first operator of a file whose output departs from PyTorch's.

    Args:
        onnx_path: The file; never written to.
        source: The UNet it should equal.
        case: The input to search on; small ones cost less memory.
        dtype: Dtype of the file.
        keep_fp32: Modules of the file that compute in float32 all the same.
        provider: Where ONNX Runtime runs.
        on_progress: Told after each of the four steps.

    Returns:
        The finding, or none where nothing departs. Peak memory is that of the larger backend
        plus the outputs of modules (first session) or of one region (second).

    Raises:
        ProviderError: If the provider cannot be had.
        UsageError: If the file cannot be loaded.
    """
    start = time.perf_counter()
    inputs = make_inputs(case, source, dtype)
    search = _Search(
        _Target(onnx_path, source, dtype, keep_fp32, provider, inputs), on_progress
    )
    found = search.run()
    seconds = time.perf_counter() - start
    return replace(found, case=case.name, seconds=seconds, peak_memory=peak_memory())


class _Search:
    def __init__(self, target: _Target, on_progress: OnProgress) -> None:
        self.target, self._tell = target, on_progress
        self.sessions = self.compared = self._steps = 0
        self.right: set[ir.Value] = set()
        self.matches: dict[ir.Value, Match] = {}

    def run(self) -> Location:
        blocks, reference = self._modules()
        self._step()
        flat = load_inlined(self.target.path, self.modules)
        if len(flat.origins) < len(flat.nodes) / 2:  # names tell little: take every layer
            blocks = self.modules
            reference = self._ask(blocks)
        exits = flat.exits(blocks)
        try:
            values = self._values(flat, {v for made in exits.values() for v in made})
        except ParityError as error:  # it computes nothing that could be compared
            finding, message = stopped(flat, str(error)), str(error)
            return Location("", finding, self.sessions, 0, note="" if finding else message)
        departed, unmatched = self._compare(exits, values, reference)
        self._step()
        overflow = self._overflow(flat)
        if overflow is not None:
            finding = self._overflowed(flat, overflow)
            keep = keep_in_fp32(self.target.source, self.target.inputs)
            return Location("", finding, self.sessions, self.compared, unmatched, keep)
        note = "" if flat.origins else "no node of this file says where it comes from"
        if not departed:
            runtime = self._plain_departs(flat, values)
            return Location(
                "", None, self.sessions, self.compared, unmatched, runtime=runtime, note=note
            )
        first = min(departed, key=lambda value: flat.order[_producer(value)])
        finding = self._operator(flat, first)
        return Location("", finding, self.sessions, self.compared, unmatched, note=note)

    def _step(self) -> None:
        self._steps += 1
        self._tell(Progress("locate", self._steps, 4, "steps"))

    def _modules(self) -> tuple[frozenset[str], list[Point]]:
        target = self.target
        with loaded(target.source, target.dtype, keep_fp32=target.keep_fp32) as unet:
            holders = {
                path for path, module in unet.named_modules() if list(module.children())
            }
            top = {path for path, _ in unet.named_children()}
            self.modules = frozenset(path for path, _ in unet.named_modules())
            blocks = frozenset(holders | top)
            found = points(unet, target.inputs, target.dtype, outputs=blocks)
        return blocks, found

    def _ask(self, outputs: Collection[str], calls: Collection[str] = ()) -> list[Point]:
        target = self.target
        with loaded(target.source, target.dtype, keep_fp32=target.keep_fp32) as unet:
            return points(unet, target.inputs, target.dtype, outputs=outputs, calls=calls)

    def _values(self, flat: Inlined, values: Iterable[ir.Value]) -> dict[ir.Value, Array]:
        """One session: the values of the file on the target's input."""
        wanted = {value.name: value for value in values}
        session = open_session(
            flat.instrumented(wanted.values()),
            self.target.provider,
            weights_folder=flat.folder,
        )
        self.sessions += 1
        outputs = session.run(self.target.inputs)
        del session
        give_back()
        return {wanted[name]: array for name, array in outputs.items()}

    def _compare(
        self,
        exits: Mapping[str, Sequence[ir.Value]],
        values: Mapping[ir.Value, Array],
        reference: Sequence[Point],
    ) -> tuple[list[ir.Value], tuple[str, ...]]:
        """Every module output against what the module hands on in the file."""
        departed, unmatched = [], []
        for point in reference:
            best: tuple[ir.Value, Match] | None = None
            for value in exits.get(point.module, ()):
                if values[value].size == point.value.size:
                    match = Match(point, distance(values[value], point.value))
                    if best is None or match.error < best[1].error:
                        best = value, match
            if best is None:
                unmatched.append(point.module)
                continue
            value, match = best
            self.compared += 1
            if match.floors <= DEPARTS:
                self.right.add(value)
                self.matches[value] = match
            else:
                departed.append(value)
                self.matches.setdefault(value, match)
        wrong = [value for value in departed if value not in self.right]
        return wrong, tuple(dict.fromkeys(unmatched))

    def _region(self, last: ir.Value) -> list[ir.Node]:
        """Nodes between values known to be right and a wrong one."""
        found: dict[ir.Node, None] = {}
        open_values = [last]
        while open_values:
            node = open_values.pop().producer()
            if node is None or node in found:
                continue
            found[node] = None
            open_values.extend(
                value for value in node.inputs if value is not None and value not in self.right
            )
        return list(found)

    def _operator(self, flat: Inlined, last: ir.Value) -> Finding:
        region = sorted(self._region(last), key=flat.order.__getitem__)
        touched = {flat.module(node) for node in region}
        touched |= {path.rpartition(".")[0] for path in touched}
        reference = self._ask(touched & self.modules, touched & self.modules)
        self._step()
        alive = [node for node in region if node not in flat.stored]
        asked = [value for node in alive for value in node.outputs if is_data(value)]
        edge = [v for n in region for v in n.inputs if v is not None and v in self.right]
        values = self._values(flat, {*asked, *(v for v in edge if v.producer() is not None)})
        self._match_all([value for value in asked if value is not last], values, reference)
        self._step()
        region = sorted(self._region(last), key=flat.order.__getitem__)
        return judge(
            Region(flat, tuple(region), last, values, self.matches, frozenset(self.right)),
            reference,
            self.target.source,
            self.target.dtype,
        )

    def _overflow(self, flat: Inlined) -> ir.Node | None:
        """The node whose half output leaves its range, which the CPU provider may hide."""
        if self.target.dtype == "fp32":
            return None
        (found,) = overflows(self.target.path, self.target.provider, [self.target.inputs])
        self.sessions += 1
        if found is None:
            return None
        return next(n for n in flat.nodes for v in n.outputs if v.name == found.value)

    def _overflowed(self, flat: Inlined, node: ir.Node) -> Finding:
        module = flat.module(node)
        near = {module, module.rpartition(".")[0]}
        asked = {m for m in self.modules if m in near or m.rpartition(".")[0] in near - {""}}
        reference = self._ask(asked, asked)
        self._step()
        around = [v for v in (*node.inputs, *node.outputs) if v is not None and is_data(v)]
        values = self._values(flat, [v for v in around if v.producer() is not None])
        self._match_all(around, values, reference)
        self._step()
        region = Region(
            flat, (node,), node.outputs[0], values, self.matches, frozenset(self.right)
        )
        return judge(region, reference, self.target.source, self.target.dtype)

    def _match_all(
        self,
        asked: Iterable[ir.Value],
        values: Mapping[ir.Value, Array],
        reference: Sequence[Point],
    ) -> None:
        """Values that equal some PyTorch tensor are right, whatever both are called."""
        for value in asked:
            if value not in values:
                continue
            same = (p for p in reference if p.value.size == values[value].size)
            found = [Match(point, distance(values[value], point.value)) for point in same]
            self.compared += len(found)
            if found:
                best = min(found, key=lambda match: match.floors)
                self.matches[value] = best
                if best.floors <= DEPARTS:
                    self.right.add(value)

    def _plain_departs(self, flat: Inlined, values: Mapping[ir.Value, Array]) -> bool:
        """Whether the file itself departs where its copy with extra outputs does not.

        Extra outputs keep ONNX Runtime from fusing across them: its optimiser is at fault.
        """
        output = flat.model.graph.outputs[0]
        if output not in self.matches:
            return False
        session = open_session(self.target.path, self.target.provider)
        self.sessions += 1
        array = next(iter(session.run(self.target.inputs).values()))
        point = self.matches[output].point
        return Match(point, distance(array, point.value)).floors > DEPARTS


def _producer(value: ir.Value) -> ir.Node:
    node = value.producer()
    assert node is not None  # only values that nodes made are compared
    return node
