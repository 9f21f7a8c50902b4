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
from dataclasses import replace
from pathlib import Path

import onnx_ir as ir
import torch

from exporter.errors import ParityError
from exporter.parity.ask import loaded
from exporter.parity.cases import ParityCase
from exporter.parity.count import Count
from exporter.parity.locate.culprit import Region, first_wrong, stopped
from exporter.parity.locate.departure import Departure
from exporter.parity.locate.finding import Finding, Location
from exporter.parity.locate.match import DEPARTS, Match, Reference, comparable, distance
from exporter.parity.locate.overflow import keep_in_fp32
from exporter.parity.locate.ranges import overflows
from exporter.parity.locate.references import collect
from exporter.parity.subject import Subject
from exporter.paths import parent
from exporter.runtime.inlined import Inlined, is_data, load_inlined
from exporter.runtime.memory import give_back, peak_memory
from exporter.runtime.session import Array, open_session
from exporter.types import OnProgress, quiet
from exporter.weights.unet import build_unet


def locate(
    onnx_path: Path,
    subject: Subject,
    case: ParityCase,
    *,
    on_progress: OnProgress = quiet,
) -> Location:
    """Find the first operator of a file whose output departs from PyTorch's.

    Args:
        onnx_path: The file; never written to.
        subject: What it should equal.
        case: The input to search on; small ones cost less memory.
        on_progress: Told after each of the four steps.

    Returns:
        The finding, or none where nothing departs. Peak memory is that of the larger backend
        plus the outputs of modules (first session) or of one region (second).

    Raises:
        ProviderError: If the provider cannot be had.
        UsageError: If the file cannot be loaded.
    """
    return search(onnx_path, subject, case, on_progress=on_progress)[0]


def search(
    onnx_path: Path,
    subject: Subject,
    case: ParityCase,
    *,
    on_progress: OnProgress = quiet,
) -> tuple[Location, Departure | None]:
    """As ``locate``, and the part of the graph that departs; None where none was found."""
    start = time.perf_counter()
    found = _Search(onnx_path, subject, subject.inputs(case), on_progress)
    location = found.run()
    seconds = time.perf_counter() - start
    told = replace(location, case=case.name, seconds=seconds, peak_memory=peak_memory())
    return told, found.departure


class _Search:
    def __init__(
        self,
        path: Path,
        subject: Subject,
        inputs: Mapping[str, torch.Tensor],
        on_progress: OnProgress,
    ) -> None:
        self.path, self.subject, self.inputs = path, subject, inputs
        self._step = Count(on_progress, "locate", 4, "steps")
        self.sessions = self.compared = 0
        self.right: set[ir.Value] = set()
        self.matches: dict[ir.Value, Match] = {}
        self.departure: Departure | None = None
        unet = build_unet(subject.source)
        self.modules = frozenset(path for path, _ in unet.named_modules())
        self.blocks = frozenset(
            path
            for path, module in unet.named_modules()
            if list(module.children()) or not parent(path)
        )

    def run(self) -> Location:
        flat = load_inlined(self.path, self.modules)
        told = len(flat.origins) >= len(flat.nodes) / 2
        blocks = self.blocks if told else self.modules  # every layer where names tell little
        references = self._ask(blocks)
        self._step()
        exits = flat.exits(blocks)
        try:
            values = self._values(flat, {v for made in exits.values() for v in made})
        except ParityError as error:  # it computes nothing that could be compared
            self.departure = stopped(flat, str(error))
            note = "" if self.departure else str(error)
            return Location("", self._finding, self.sessions, 0, note=note)
        departed, unmatched = self._compare(exits, values, references)
        self._step()
        overflow = self._overflow(flat)
        if overflow is not None:
            self.departure = self._overflowed(flat, overflow)
            keep = keep_in_fp32(self.subject.source, self.inputs)
            return Location("", self._finding, self.sessions, self.compared, unmatched, keep)
        note = "" if flat.origins else "no node of this file says where it comes from"
        if not departed:
            runtime = self._plain_departs(flat, values)
            return Location(
                "", None, self.sessions, self.compared, unmatched, runtime=runtime, note=note
            )
        first = min(departed, key=lambda value: flat.order[_producer(value)])
        self.departure = self._operator(flat, first)
        return Location("", self._finding, self.sessions, self.compared, unmatched, note=note)

    @property
    def _finding(self) -> Finding | None:
        return self.departure.finding if self.departure else None

    def _ask(self, outputs: Collection[str], calls: Collection[str] = ()) -> list[Reference]:
        with loaded(self.subject) as unet:
            return collect(unet, self.inputs, self.subject.dtype, outputs=outputs, calls=calls)

    def _values(self, flat: Inlined, values: Iterable[ir.Value]) -> dict[ir.Value, Array]:
        """One session: the values of the file on the input."""
        wanted = {value.name: value for value in values}
        session = open_session(
            flat.instrumented(wanted.values()),
            self.subject.provider,
            weights_folder=flat.folder,
        )
        self.sessions += 1
        outputs = session.run(self.inputs)
        del session
        give_back()
        return {wanted[name]: array for name, array in outputs.items()}

    def _compare(
        self,
        exits: Mapping[str, Sequence[ir.Value]],
        values: Mapping[ir.Value, Array],
        references: Sequence[Reference],
    ) -> tuple[list[ir.Value], tuple[str, ...]]:
        """Every module output against what the module hands on in the file."""
        departed, unmatched = [], []
        for reference in references:
            best: tuple[ir.Value, Match] | None = None
            for value in exits.get(reference.module, ()):
                if comparable(values[value], reference.value):
                    match = Match(reference, distance(values[value], reference.value))
                    if best is None or match.error < best[1].error:
                        best = value, match
            if best is None:
                unmatched.append(reference.module)
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

    def _operator(self, flat: Inlined, last: ir.Value) -> Departure:
        region = sorted(self._region(last), key=flat.order.__getitem__)
        touched = {flat.module(node) for node in region}
        touched |= {parent(path) for path in touched}
        references = self._ask(touched & self.modules, touched & self.modules)
        self._step()
        alive = [node for node in region if node not in flat.constant]
        asked = [value for node in alive for value in node.outputs if is_data(value)]
        edge = [v for n in region for v in n.inputs if v is not None and v in self.right]
        values = self._values(flat, {*asked, *(v for v in edge if v.producer() is not None)})
        self._match_all([value for value in asked if value is not last], values, references)
        self._step()
        region = sorted(self._region(last), key=flat.order.__getitem__)
        return first_wrong(
            Region(flat, tuple(region), last, values, self.matches, frozenset(self.right)),
            references,
            self.subject,
        )

    def _overflow(self, flat: Inlined) -> ir.Node | None:
        """The node whose half output leaves its range, which the CPU provider may hide."""
        if self.subject.dtype == "fp32":
            return None
        (found,) = overflows(self.path, self.subject.provider, [self.inputs])
        self.sessions += 1
        if found is None:
            return None
        return next(n for n in flat.nodes for v in n.outputs if v.name == found.value)

    def _overflowed(self, flat: Inlined, node: ir.Node) -> Departure:
        module = flat.module(node)
        near = {module, parent(module)}
        asked = {m for m in self.modules if m in near or parent(m) in near - {""}}
        references = self._ask(asked, asked)
        self._step()
        around = [v for v in (*node.inputs, *node.outputs) if v is not None and is_data(v)]
        values = self._values(flat, [v for v in around if v.producer() is not None])
        self._match_all(around, values, references)
        self._step()
        region = Region(
            flat, (node,), node.outputs[0], values, self.matches, frozenset(self.right)
        )
        return first_wrong(region, references, self.subject)

    def _match_all(
        self,
        asked: Iterable[ir.Value],
        values: Mapping[ir.Value, Array],
        references: Sequence[Reference],
    ) -> None:
        """Values that equal some PyTorch tensor are right, whatever both are called."""
        for value in asked:
            if value not in values:
                continue
            same = (r for r in references if comparable(values[value], r.value))
            found = [Match(r, distance(values[value], r.value)) for r in same]
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
        session = open_session(self.path, self.subject.provider)
        self.sessions += 1
        array = next(iter(session.run(self.inputs).values()))
        reference = self.matches[output].reference
        return Match(reference, distance(array, reference.value)).floors > DEPARTS


def _producer(value: ir.Value) -> ir.Node:
    node = value.producer()
    assert node is not None  # only values that nodes made are compared
    return node
