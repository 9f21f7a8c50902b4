"""One file from request to annotated copy; the stages as one visible list."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import onnx_ir as ir

from exporter import metadata as meta
from exporter.annotate.flat import flatten, infer_shapes
from exporter.annotate.grouping import by_lists, by_sides, settle
from exporter.annotate.inputs import Named, recognise
from exporter.annotate.link import link
from exporter.annotate.rename import renamed, restore
from exporter.annotate.same import require_same
from exporter.annotate.scopes import Scopes, write_scopes
from exporter.annotate.sizes import localise_sizes, mark_sizes
from exporter.architecture import Run
from exporter.errors import GraphError, UsageError
from exporter.files import validate
from exporter.fold import fold
from exporter.guards import guard_target
from exporter.publish import drafted, write
from exporter.roles import Roles, annotate
from exporter.runtime.loading import load_proto
from exporter.types import OnProgress, Provider, StageRecord, quiet


@dataclass(frozen=True)
class AnnotateRequest:
    """What to annotate, and where to.

    Attributes:
        source: Any UNet's .onnx.
        target: The annotated copy; external weights are linked, so they lie at or below its
            folder.
        inputs: Conventional name of an input by the file's, where it is not told by itself.
        flat: Do not fold modules into functions.
        check: Run both files once and compare every bit.
        provider: Where they run.
    """

    source: Path
    target: Path
    inputs: Mapping[str, str] = field(default_factory=dict)
    flat: bool = False
    check: bool = True
    provider: Provider = "auto"


@dataclass(frozen=True)
class AnnotateReport:
    """What was written.

    Attributes:
        target: The file.
        roles: What was found in it.
        nodes: Of the flat graph, and at top level.
        functions: Local functions.
        inputs: The file's name of each recognised input, by its conventional one.
        remarks: What could not be recognised, a sentence each.
        same: What both files were seen to have in common, ``bits`` or, in half types,
            ``operators``; empty where nobody looked.
        stages: Time of each.
    """

    target: Path
    roles: Roles
    nodes: tuple[int, int]
    functions: int
    inputs: Mapping[str, str]
    remarks: tuple[str, ...]
    same: str
    stages: tuple[StageRecord, ...]

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {
            "target": str(self.target),
            "roles": asdict(self.roles),
            "nodes": list(self.nodes),
            "functions": self.functions,
            "inputs": dict(self.inputs),
            "remarks": list(self.remarks),
            "same": self.same,
            "stages": [asdict(stage) for stage in self.stages],
        }


def annotate_file(request: AnnotateRequest, on_progress: OnProgress = quiet) -> AnnotateReport:
    """Read, name, infer shapes, find scopes and roles, fold, write, compare.

    Args:
        request: What to annotate.
        on_progress: Told of every stage.

    Raises:
        UsageError: The file is none of a UNet, is annotated already, or an input could be
            several things.
        TargetError: The target cannot be written.
        ParityError: The copy would not compute the same bits; nothing is written.
    """
    guard_target(request.target)
    run = Run(on_progress)
    with run.stage("read"):
        _require_foreign(request.source)
        model = flatten(request.source)
        inputs = recognise(model.graph, request.inputs)
        link(model, request.source, request.target.parent)
    with run.stage("shapes"):
        unshaped = infer_shapes(model, inputs.names)
    with run.stage("annotate"):
        scopes = write_scopes(model)
        back = renamed(model.graph, inputs.names)
        roles = annotate(model, inputs.names)
        mark_sizes(model.graph)
        classes = _grouped(model, scopes)
        _require_unet(request.source, roles)
        flat_nodes = model.graph.num_nodes()
    with run.stage("fold"):
        model, cycle = (model, "") if request.flat else _folded(model, classes)
        restore(model, back)
    remarks = (*_remarks(inputs, scopes, unshaped, flat_nodes), *([cycle] if cycle else []))
    same = ""
    with drafted(request.target, copy=False) as draft:
        with run.stage("write"):
            facts = _facts(request, inputs, remarks)
            write(model, draft.onnx, facts)
            validate(draft.onnx)
        if request.check:
            with run.stage("check"):
                same = require_same(request.source, draft.onnx, request.provider)
            write(model, draft.onnx, {"annotated": {**facts["annotated"], "same": same}})
        draft.publish()
    nodes = (flat_nodes, model.graph.num_nodes())
    return AnnotateReport(
        request.target, roles, nodes, len(model.functions), inputs.names, remarks,
        same, tuple(run.records),
    )  # fmt: skip


def _require_foreign(path: Path) -> None:
    keys = {entry.key for entry in load_proto(path).metadata_props}
    if meta.PREFIX + "format" in keys:
        raise UsageError(f"{path.name} is annotated already", do="open it: python -m viewer")


def _require_unet(path: Path, roles: Roles) -> None:
    if not roles.skip and not roles.time_injection:
        found = "in which no skip crosses and no time is added to the image"
        raise UsageError(f"{path.name} is a graph {found}", "a UNet")


def _grouped(model: ir.Model, scopes: Scopes) -> Mapping[str, str]:
    """Which modules become functions."""
    if scopes.unscoped == model.graph.num_nodes():
        return by_sides(model.graph)
    classes = by_lists(model.graph, scopes.classes)
    settle(model.graph, classes)
    return classes


def _folded(model: ir.Model, classes: Mapping[str, str]) -> tuple[ir.Model, str]:
    """The folded model; the flat one and why where its scopes interlock."""
    for prepare in (lambda _: None, localise_sizes):
        copy = model.clone()
        _know_parameters(model, copy)
        prepare(copy.graph)
        try:
            fold(copy, classes)
        except GraphError:
            continue
        return copy, ""
    return model, "its modules wait for one another, so none is folded into a function"


def _know_parameters(model: ir.Model, copy: ir.Model) -> None:
    """A clone forgets what was noted of its values."""
    for name, value in model.graph.initializers.items():
        copy.graph.initializers[name].meta.update(value.meta)


def _remarks(inputs: Named, scopes: Scopes, unshaped: int, nodes: int) -> list[str]:
    found = []
    if inputs.unknown:
        found.append(f"nothing tells what these inputs are: {', '.join(inputs.unknown)}")
    if scopes.unscoped:
        found.append(f"{scopes.unscoped:,} of {nodes:,} nodes tell no module")
    if unshaped:
        found.append(f"{unshaped:,} values have no known shape")
    return found


def _facts(
    request: AnnotateRequest, inputs: Named, remarks: tuple[str, ...]
) -> dict[str, Any]:
    """What the file says about itself; docs/FORMAT.md."""
    with request.source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "format": meta.FORMAT_VERSION,
        "model": request.source.stem,
        "inputs": dict(inputs.names),
        "annotated": {
            "file": request.source.name,
            "sha256": digest,
            "same": "",
            "remarks": list(remarks),
        },
        "legend": meta.legend(meta.ROLES),
    }
