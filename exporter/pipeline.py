"""One export from request to proven file; the stages as one visible list."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from threading import Event
from typing import TYPE_CHECKING, Any

from exporter import cache, garbage
from exporter.architecture import Graph, Run, architecture, build, cached, keep
from exporter.errors import AtlasError
from exporter.files import prove, write_files
from exporter.fold import fold
from exporter.passes.low_rank import TRANSFORMERS, LowRank
from exporter.plan import Plan, make_plan
from exporter.publish import Draft, drafted, variant_of
from exporter.report import ExportReport, VariantReport
from exporter.runtime.memory import peak_memory
from exporter.types import ExportRequest, OnProgress, Progress, TensorSpec, quiet
from exporter.weights.attach import attach, drop_transposes
from exporter.weights.store import copy_weights, digest

if TYPE_CHECKING:
    from exporter.parity.report import ParityReport

_Stored = tuple[Mapping[str, TensorSpec], Mapping[str, str]]
_Work = Callable[[OnProgress], _Stored]


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
    plan = make_plan(request, on_progress, run.stage("source"))
    optimize = bool(request.optimize)
    with (
        drafted(plan.target, copy=plan.linked is None, variant=optimize) as draft,
        _beside(on_progress) as start,
    ):
        stored = None if plan.mode == "packed" else start(partial(_store, plan, draft))
        graph = _architecture(plan, graphs, run)
        model, variant = graph.model.clone(), None
        if plan.request.optimize:
            assert plan.provider is not None
            from exporter.variant import make_variant  # ONNX Runtime's optimiser

            with run.stage("variant"):
                variant = make_variant(graph.model, plan.provider, graph.parameters)
        if request.lora:
            with run.stage("lora"):
                roles = TRANSFORMERS if request.lora == "transformers" else None
                LowRank(graph.parameters, roles)(model)
        with run.stage("weights"):
            transposed = graph.transposed if plan.mode == "packed" else frozenset()
            if stored is None:  # what is transposed had to be known
                stored = start(partial(_store, plan, draft, transposed=transposed))
            specs, files = stored.result()
            for reader in (model, variant.model) if variant else (model,):
                attach(reader, specs, draft.onnx.parent, graph.parameters)
                drop_transposes(reader, transposed)
        if not request.flat:
            with run.stage("fold"), garbage.paused():
                fold(model, graph.classes)
        weights = _weights_facts(plan, specs, files)
        with run.stage("write"):
            written = write_files(model, variant, draft, plan.source, weights)
        reports: list[ParityReport] = []
        if request.check:
            with run.stage("check"):
                reports = prove(written, plan.source, request, plan.dtype, on_progress)
        draft.publish()
    return ExportReport(
        target=plan.target,
        model=plan.source.name,
        class_name=plan.source.class_name,
        weights=weights,
        opset=plan.opset,
        nodes_traced=graph.nodes_traced,
        nodes_flat=graph.nodes,
        weight_transposes=graph.weight_transposes,
        nodes_top=model.graph.num_nodes(),
        functions=len(model.functions),
        roles=graph.roles,
        stages=tuple(run.records),
        passes=graph.passes,
        parity=reports[0] if reports else None,
        variant=VariantReport.of(variant, variant_of(plan.target), reports)
        if variant
        else None,
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


def _architecture(plan: Plan, graphs: dict[tuple[str, ...], Graph], run: Run) -> Graph:
    wishes = plan.source, plan.dtype, plan.opset, plan.request.keep_fp32
    key = architecture(*wishes)
    if key in graphs:
        return graphs[key]
    name = cache.name_of(key) if plan.request.cache else None
    graph = cached(name, run) if name else None
    if graph is None:
        graph = build(*wishes, run)
        if name:
            keep(name, graph)
    graphs[key] = graph
    return graph


@contextmanager
def _beside(on_progress: OnProgress) -> Iterator[Callable[[_Work], Future[_Stored]]]:
    """Runs work in a thread beside the body; hashing and copying release the lock.

    When the body fails or is interrupted, the work ends at its next progress report, and
    nothing of it runs on after this.
    """
    over = Event()

    def progress(event: Progress) -> None:
        if over.is_set():
            raise CancelledError
        on_progress(event)

    with ThreadPoolExecutor(1) as pool:
        try:
            yield lambda work: pool.submit(work, progress)
        finally:
            over.set()


def _store(
    plan: Plan, draft: Draft, progress: OnProgress, transposed: frozenset[str] = frozenset()
) -> _Stored:
    """Copies the weights, or hashes them where they lie: specs by tensor, SHA-256 by file."""
    weights = plan.source.weights
    if plan.linked is not None:
        return plan.linked, digest(weights.files, progress)
    assert draft.weights is not None
    stored = copy_weights(
        weights,
        draft.weights,
        plan.dtype,
        progress,
        keep_fp32=plan.request.keep_fp32,
        transposed=transposed,
    )
    return stored.specs, {draft.weights.name: stored.sha256}


def _weights_facts(
    plan: Plan, specs: Mapping[str, TensorSpec], files: Mapping[str, str]
) -> dict[str, Any]:
    """``atlas.weights``; docs/FORMAT.md."""
    weights, kept = plan.source.weights, plan.request.keep_fp32
    return {
        "source": "checkpoint" if weights.seed is None else "random",
        **({} if weights.seed is None else {"seed": weights.seed}),
        "description": weights.description,
        "mode": plan.mode,
        "dtype": plan.dtype,
        **({"keep_fp32": list(kept)} if kept else {}),
        **({"lora": list(plan.source.fused)} if plan.source.fused else {}),
        "parameters": sum(math.prod(spec.shape) for spec in specs.values()),
        "bytes": sum(spec.nbytes for spec in specs.values()),
        "files": {name: f"sha256:{value}" for name, value in files.items()},
    }
