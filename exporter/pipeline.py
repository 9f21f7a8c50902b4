"""One export from request to proven file; the stages as one visible list."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
import torch

from exporter import metadata as meta
from exporter.annotate import Roles, annotate
from exporter.errors import GraphError, ParityError, UsageError
from exporter.fold import fold
from exporter.lower import lower
from exporter.parity import ParityReport, check
from exporter.parity.memory import peak_memory
from exporter.passes.docstrings import model_doc
from exporter.publish import Stage, attach, guard_target, staged, write
from exporter.simplify import simplify
from exporter.source import load_source
from exporter.trace import trace
from exporter.types import (
    TORCH_DTYPES,
    Dtype,
    ExportRequest,
    OnProgress,
    Progress,
    Source,
    StageRecord,
    TensorSpec,
    quiet,
)
from exporter.weights.checkpoint import Checkpoint, natural_dtype
from exporter.weights.random import RandomWeights
from exporter.weights.store import can_link, copy_weights, digest, link_weights
from exporter.weights.unet import build_unet

DEFAULT_OPSET = 24
"""SiLU is one node (``Swish``); see docs/DECISIONS.md for what was measured."""

OPSETS = range(20, 25)
PACKAGES = (
    "unet-atlas", "torch", "diffusers", "onnx", "onnx-ir", "onnxscript", "onnxsim",
)  # fmt: skip


@dataclass(frozen=True)
class ExportReport:
    """What one export did.

    Attributes:
        target: The file written.
        model: What was exported.
        class_name: Its diffusers class.
        weights: As in ``atlas.weights``.
        opset: Opset of the default domain.
        nodes_traced: Nodes as lowered.
        nodes_flat: Nodes after simplification.
        weight_transposes: Those of ``nodes_flat`` that only turn a stored weight.
        nodes_top: Nodes of the main graph as written.
        functions: Local functions.
        roles: What was found in the graph.
        stages: Time of every stage.
        passes: Node counts around every pass.
        parity: The check, or None when it was skipped.
        seconds: Wall time in all.
        peak_memory: Largest resident size of the process, in bytes.
    """

    target: Path
    model: str
    class_name: str
    weights: Mapping[str, Any]
    opset: int
    nodes_traced: int
    nodes_flat: int
    weight_transposes: int
    nodes_top: int
    functions: int
    roles: Roles
    stages: tuple[StageRecord, ...]
    passes: tuple[StageRecord, ...]
    parity: ParityReport | None
    seconds: float
    peak_memory: int

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        plain = {
            key: getattr(self, key) for key in self.__dataclass_fields__ if key != "parity"
        }
        return {
            **plain,
            "target": str(self.target),
            "weights": dict(self.weights),
            "roles": asdict(self.roles),
            "stages": [asdict(record) for record in self.stages],
            "passes": [asdict(record) for record in self.passes],
            "parity": self.parity.to_json() if self.parity else None,
        }


def export(request: ExportRequest, on_progress: OnProgress = quiet) -> ExportReport:
    """Source, trace, lower, simplify, annotate, weights, fold, write, check, publish.

    Args:
        request: What to export, where to, and how.
        on_progress: Told of every stage's progress and record.

    Returns:
        What was done. The target holds a proven file, or an unproven one if
        ``request.check`` is off.

    Raises:
        AtlasError: Anything told in one line; the target is as it was before.
    """
    run = _Run(on_progress)
    opset = request.opset or DEFAULT_OPSET
    if opset not in OPSETS:
        raise UsageError(f"--opset {opset}", f"{OPSETS[0]} to {OPSETS[-1]}")
    target = request.target.expanduser().absolute()
    guard_target(target)
    with run.stage("source"):
        source = load_source(
            request.model,
            subfolder=request.subfolder,
            revision=request.revision,
            variant=request.variant,
            seed=request.seed,
            progress=on_progress,
        )
        dtype = request.dtype or _dtype_of(source)
        copy = _copies(request, source, target, TORCH_DTYPES[dtype])
    with ThreadPoolExecutor(1) as pool, staged(target, copy=copy) as stage:
        stored = pool.submit(_store, source, stage, TORCH_DTYPES[dtype], on_progress)
        with run.stage("trace"):
            program = trace(source, lambda: build_unet(source), TORCH_DTYPES[dtype])
        with run.stage("lower"):
            model = lower(program, opset)
        traced = model.graph.num_nodes()
        with run.stage("simplify"):
            model, passes = simplify(model, program.classes, on_progress)
        with run.stage("annotate"):
            names = [spec.name for spec in source.inputs]
            roles = annotate(model, names)
        flat, transposes = model.graph.num_nodes(), _weight_transposes(model)
        with run.stage("weights"):
            specs, files = stored.result()
            parameters = [v.name for v in model.graph.inputs if v.name not in names]
            attach(model, specs, stage.onnx.parent, [name for name in parameters if name])
        if not request.flat:
            with run.stage("fold"):
                fold(model, program.classes)
        weights = _weights_facts(source, request, specs, files, dtype, copy=copy)
        with run.stage("write"):
            model.producer_name, model.producer_version = "unet-atlas", version("unet-atlas")
            model.graph.name = source.class_name
            model.graph.doc_string = model_doc(source.name)
            write(model, stage.onnx, _facts(source, weights))
            _validate(stage.onnx)
        parity = None
        if request.check:
            with run.stage("check"):
                parity = _check(stage, source, request, dtype, on_progress)
            write(model, stage.onnx, {"parity": parity.to_metadata()})
        stage.publish()
    return ExportReport(
        target=target,
        model=source.name,
        class_name=source.class_name,
        weights=weights,
        opset=opset,
        nodes_traced=traced,
        nodes_flat=flat,
        weight_transposes=transposes,
        nodes_top=model.graph.num_nodes(),
        functions=len(model.functions),
        roles=roles,
        stages=tuple(run.records),
        passes=passes,
        parity=parity,
        seconds=time.perf_counter() - run.start,
        peak_memory=peak_memory(),
    )


class _Run:
    """Times the stages of one export."""

    def __init__(self, on_progress: OnProgress) -> None:
        self.on_progress, self.start = on_progress, time.perf_counter()
        self.records: list[StageRecord] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        self.on_progress(Progress(name))
        yield
        record = StageRecord(name, time.perf_counter() - start)
        self.records.append(record)
        self.on_progress(Progress(name, 1, 1, record=record))


def _dtype_of(source: Source) -> Dtype:
    natural = natural_dtype(source.weights)
    return next((name for name, dtype in TORCH_DTYPES.items() if dtype == natural), "fp32")


def _copies(request: ExportRequest, source: Source, target: Path, dtype: torch.dtype) -> bool:
    if request.weights == "link":
        link_weights(source.weights, target.parent.resolve(), dtype)  # raises where it cannot
        return False
    return request.weights == "copy" or bool(can_link(source.weights, target.parent, dtype))


def _store(
    source: Source, stage: Stage, dtype: torch.dtype, on_progress: OnProgress
) -> tuple[Mapping[str, TensorSpec], Mapping[str, str]]:
    """Copies or links the weights, beside the trace: hashing and copying release the lock."""
    if stage.weights is not None:
        stored = copy_weights(source.weights, stage.weights, dtype, on_progress)
        return stored.specs, {stage.weights.name: stored.sha256}
    folder = stage.target.parent.resolve()
    specs = link_weights(source.weights, folder, dtype)
    assert isinstance(source.weights, Checkpoint)
    specs = {
        name: replace(spec, file=stage.target.parent / spec.file.relative_to(folder))
        for name, spec in specs.items()
        if spec.file is not None
    }
    return specs, digest(source.weights.files, on_progress)


def _weight_transposes(model: ir.Model) -> int:
    inputs = set(model.graph.inputs)
    return sum(n.op_type == "Transpose" and n.inputs[0] in inputs for n in model.graph)


def _weights_facts(
    source: Source,
    request: ExportRequest,
    specs: Mapping[str, TensorSpec],
    files: Mapping[str, str],
    dtype: Dtype,
    *,
    copy: bool,
) -> dict[str, Any]:
    random = isinstance(source.weights, RandomWeights)
    parameters = sum(torch.Size(spec.shape).numel() for spec in specs.values())
    return {
        "source": "random" if random else "checkpoint",
        **({"seed": request.seed} if random else {}),
        "description": source.weights.description,
        "mode": "copy" if copy else "link",
        "dtype": dtype,
        "parameters": parameters,
        "bytes": sum(spec.nbytes for spec in specs.values()),
        "files": {name: f"sha256:{value}" for name, value in files.items()},
    }


def _facts(source: Source, weights: Mapping[str, Any]) -> dict[str, Any]:
    """What the file says about itself; docs/FORMAT.md."""
    return {
        "format": meta.FORMAT_VERSION,
        "model": source.name,
        "model.class": source.class_name,
        **({"model.revision": source.revision} if source.revision else {}),
        "model.config": dict(source.config),
        "size_multiple": str(source.size_multiple),
        "legend": "; ".join(f"{role}: {text}" for role, text in meta.ROLES.items()),
        "weights": weights,
        "versions": _versions(),
        "parity": {"verdict": "skipped"},
    }


def _versions() -> dict[str, str]:
    return {package: version(package) for package in PACKAGES}


def _validate(path: Path) -> None:
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except onnx.checker.ValidationError as error:
        first = str(error).strip().splitlines()[0]
        raise GraphError(f"onnx.checker refuses the graph: {first}") from error


def _check(
    stage: Stage, source: Source, request: ExportRequest, dtype: Dtype, progress: OnProgress
) -> ParityReport:
    report = check(
        stage.onnx,
        source,
        provider=request.provider,
        dtype=dtype,
        atol=request.atol,
        rtol=request.rtol,
        on_progress=progress,
    )
    if not report.passed:
        worst = report.worst
        raise ParityError(
            f"{request.target.name} differs from PyTorch at {worst.name}: {worst.verdict}",
            do="the target is as it was; python -m exporter.parity --locate finds the block",
        )
    return report
