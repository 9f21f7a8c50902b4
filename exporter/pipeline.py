"""One export from request to proven file; the stages as one visible list."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any, Literal, TypeVar

import torch

from exporter import garbage
from exporter.architecture import Graph, Run, architecture, build
from exporter.errors import AtlasError, UsageError
from exporter.files import prove, write_files
from exporter.fold import fold
from exporter.parity.report import ParityReport
from exporter.parity.tolerance import resolve
from exporter.publish import (
    Stage,
    attach,
    drop_transposes,
    guard_target,
    guard_variant,
    guard_weights,
    staged,
    variant_of,
)
from exporter.report import ExportReport, VariantReport
from exporter.runtime.memory import peak_memory
from exporter.runtime.providers import choose, require_dtype
from exporter.source import load_source
from exporter.types import (
    TORCH_DTYPES,
    Dtype,
    ExportRequest,
    OnProgress,
    Progress,
    Source,
    TensorSpec,
    quiet,
)
from exporter.variant import make_variant, require_variant
from exporter.weights.checkpoint import Checkpoint, natural_dtype
from exporter.weights.random import RandomWeights
from exporter.weights.store import can_link, copy_weights, digest, link_weights

_T = TypeVar("_T")

DEFAULT_OPSET = 24
"""SiLU is one node (``Swish``); see docs/DECISIONS.md for what was measured."""

OPSETS = range(20, 25)


def export(
    request: ExportRequest,
    on_progress: OnProgress = quiet,
    graphs: dict[tuple[str, ...], Graph] | None = None,
) -> ExportReport:
    """Source, trace, lower, simplify, annotate, weights, fold, write, check, publish.

    Args:
        request: What to export, where to, and how.
        on_progress: Told of every stage's progress and record.
        graphs: Architectures already traced, by ``architecture``; added to. Checkpoints that
            share one cost one trace.

    Returns:
        What was done. The target holds a proven file, or an unproven one if
        ``request.check`` is off.

    Raises:
        AtlasError: Anything told in one line; the target is as it was before.
    """
    run = Run(on_progress)
    graphs = {} if graphs is None else graphs
    target = request.target.expanduser().absolute()
    opset = _refuse_early(request, target)
    with run.stage("source"):
        source, dtype = _open(request, opset, on_progress)
        copy = _refuse_files(request, source, target, dtype)
    with (
        staged(target, copy=copy, variant=bool(request.optimize)) as stage,
        _beside(partial(_store, request, source, stage, dtype), on_progress) as stored,
    ):
        key = architecture(source, dtype, opset, request.keep_fp32)
        if key not in graphs:
            graphs[key] = build(source, dtype, opset, request.keep_fp32, run)
        graph = graphs[key]
        model, variant = graph.model.clone(), None
        if request.optimize:
            with run.stage("variant"):
                variant = make_variant(graph.model, _provider(request), graph.parameters)
        with run.stage("weights"):
            turned = graph.turned if request.weights == "packed" else frozenset()
            specs, files = stored.result()
            if not specs:
                specs, files = _store(request, source, stage, dtype, on_progress, turned)
            for reader in (model, variant.model) if variant else (model,):
                attach(reader, specs, stage.onnx.parent, graph.parameters)
                drop_transposes(reader, turned)
        if not request.flat:
            with run.stage("fold"), garbage.paused():
                fold(model, graph.program.classes)
        weights = _weights_facts(source, request, specs, files, dtype, copy=copy)
        with run.stage("write"):
            written = write_files(model, variant, stage, source, weights)
        reports: list[ParityReport] = []
        if request.check:
            with run.stage("check"):
                reports = prove(written, source, request, dtype, on_progress)
        stage.publish()
    return ExportReport(
        target=target,
        model=source.name,
        class_name=source.class_name,
        weights=weights,
        opset=opset,
        nodes_traced=graph.nodes_traced,
        nodes_flat=graph.nodes,
        weight_transposes=graph.weight_transposes,
        nodes_top=model.graph.num_nodes(),
        functions=len(model.functions),
        roles=graph.roles,
        stages=tuple(run.records),
        passes=graph.passes,
        parity=reports[0] if reports else None,
        variant=VariantReport.of(variant, variant_of(target), reports) if variant else None,
        seconds=time.perf_counter() - run.start,
        peak_memory=peak_memory(),
    )


def export_all(
    requests: Iterable[ExportRequest], on_progress: OnProgress = quiet
) -> Iterator[ExportReport | AtlasError]:
    """Exports and proves many checkpoints, tracing each architecture once.

    A checkpoint that fails does not stop the others: its error takes its report's place.
    """
    graphs: dict[tuple[str, ...], Graph] = {}
    for request in requests:
        try:
            yield export(request, on_progress, graphs)
        except AtlasError as error:
            yield error


def _refuse_early(request: ExportRequest, target: Path) -> int:
    """Refuses what needs no look at the model; the opset of what is left."""
    opset = DEFAULT_OPSET if request.opset is None else request.opset
    if opset not in OPSETS:
        raise UsageError(f"--opset {opset}", f"{OPSETS[0]} to {OPSETS[-1]}")
    if request.optimize:
        require_variant(opset, request.dtype)
    guard_target(target)
    if request.check:
        resolve("fp32", request.atol, request.rtol, None)
        choose(request.provider)
    return opset


def _open(request: ExportRequest, opset: int, on_progress: OnProgress) -> tuple[Source, Dtype]:
    source = load_source(
        request.model,
        subfolder=request.subfolder,
        revision=request.revision,
        variant=request.variant,
        seed=request.seed,
        progress=on_progress,
    )
    dtype = request.dtype or _dtype_of(source)
    if request.optimize:
        require_variant(opset, dtype)
    return source, dtype


def _refuse_files(request: ExportRequest, source: Source, target: Path, dtype: Dtype) -> bool:
    """Refuses to replace strangers' files, and what cannot be checked; whether to copy."""
    copy = _copies(request, source, target, TORCH_DTYPES[dtype])
    if copy:
        guard_weights(target, source.weights)
    guard_variant(target, wanted=bool(request.optimize), copy=copy)
    if request.check:
        require_dtype(choose(request.provider)[0], dtype)
    return copy


def _dtype_of(source: Source) -> Dtype:
    natural = natural_dtype(source.weights)
    return next((name for name, dtype in TORCH_DTYPES.items() if dtype == natural), "fp32")


def _copies(request: ExportRequest, source: Source, target: Path, dtype: torch.dtype) -> bool:
    kept, folder = request.keep_fp32, target.parent.resolve()
    if request.weights == "link":
        link_weights(source.weights, folder, dtype, kept)  # raises where it cannot
        return False
    return request.weights in ("copy", "packed") or bool(
        can_link(source.weights, folder, dtype, kept)
    )


@contextmanager
def _beside(work: Callable[[OnProgress], _T], on_progress: OnProgress) -> Iterator[Future[_T]]:
    """Runs ``work`` in a thread beside the body; hashing and copying release the lock.

    When the body fails or is interrupted, ``work`` ends at its next progress report, and
    nothing of it runs on after this.
    """
    over = Event()

    def progress(event: Progress) -> None:
        if over.is_set():
            raise CancelledError
        on_progress(event)

    with ThreadPoolExecutor(1) as pool:
        try:
            yield pool.submit(work, progress)
        finally:
            over.set()


def _store(
    request: ExportRequest,
    source: Source,
    stage: Stage,
    dtype: Dtype,
    progress: OnProgress,
    turned: frozenset[str] | None = None,
) -> tuple[Mapping[str, TensorSpec], Mapping[str, str]]:
    """Copies the weights, or finds and hashes them where they lie.

    Nothing when matrices are to be turned and which ones is not known before the graph is.
    """
    wanted, kept = TORCH_DTYPES[dtype], request.keep_fp32
    if request.weights == "packed" and turned is None:
        return {}, {}
    if stage.weights is not None:
        stored = copy_weights(
            source.weights,
            stage.weights,
            wanted,
            progress,
            keep_fp32=kept,
            turned=turned or (),
        )
        return stored.specs, {stage.weights.name: stored.sha256}
    folder = stage.target.parent.resolve()
    specs = link_weights(source.weights, folder, wanted, kept)
    assert isinstance(source.weights, Checkpoint)
    specs = {
        name: replace(spec, file=stage.target.parent / spec.file.relative_to(folder))
        for name, spec in specs.items()
        if spec.file is not None
    }
    return specs, digest(source.weights.files, progress)


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
        "mode": "packed" if request.weights == "packed" else "copy" if copy else "link",
        "dtype": dtype,
        **({"keep_fp32": list(request.keep_fp32)} if request.keep_fp32 else {}),
        "parameters": parameters,
        "bytes": sum(spec.nbytes for spec in specs.values()),
        "files": {name: f"sha256:{value}" for name, value in files.items()},
    }


def _provider(request: ExportRequest) -> Literal["cpu", "cuda"]:
    """Where the variant is to run: without a check, CUDA need not be here to be asked for."""
    return "cuda" if request.provider == "cuda" else choose(request.provider)[0]
