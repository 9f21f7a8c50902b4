"""One text-to-image file from request to proof; the stages as one visible list."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir

from exporter import cache
from exporter import metadata as meta
from exporter.architecture import Graph, Run, architecture, build, cached, keep
from exporter.errors import ParityError, UsageError
from exporter.files import validate, versions
from exporter.fold import fold
from exporter.guards import guard_weights
from exporter.publish import Draft, drafted, write
from exporter.sampler.verdict import Proof, Report
from exporter.text_to_image.graph import PartGraph, build_part, fold_part
from exporter.text_to_image.join import picture_graph
from exporter.text_to_image.locate import locate
from exporter.text_to_image.plan import PicturePlan, PictureRequest, make_plan
from exporter.text_to_image.proof import Difference, prove
from exporter.text_to_image.store import Joined, attach_as
from exporter.types import OnProgress, StageRecord, TensorSpec, quiet
from exporter.weights.store import copy_weights, digest, link_weights

UNET = "unet"


@dataclass(frozen=True, kw_only=True)
class PictureReport(Report):
    """What was written.

    Attributes:
        pipeline: diffusers' class.
        weights: As in ``atlas.weights``.
    """

    pipeline: str
    weights: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        own = {"pipeline": self.pipeline, "weights": dict(self.weights)}
        return {**super().to_json(), **own}


@dataclass(frozen=True)
class _Graphs:
    """All parts, traced; ``unet`` is one of ``models``."""

    unet: Graph
    parts: Mapping[str, PartGraph]
    models: Mapping[str, ir.Model]

    def parameters(self, name: str) -> list[str]:
        own = self.unet.inputs if name == UNET else ("input_ids", "latents")
        names = [value.name or "" for value in self.models[name].graph.inputs]
        return [one for one in names if one not in own]


def make_picture(request: PictureRequest, on_progress: OnProgress = quiet) -> PictureReport:
    """Plan, trace every part, weights, join, write, prove, place.

    Raises:
        AtlasError: Anything told in one line; the target is as it was before.
    """
    run = Run(on_progress)
    start = time.perf_counter()
    plan = make_plan(request)
    run.record(StageRecord("source", time.perf_counter() - start))
    graphs = _graphs(plan, run)
    weights, sources = _weights(plan, graphs)
    linked = _linked(plan, weights)
    if linked is None:
        guard_weights(plan.target, weights)
    with drafted(plan.target, copy=linked is None) as draft:
        with run.stage("weights"):
            specs, files = _stored(plan, draft, weights, linked, run.on_progress)
            _attach(graphs, sources, specs, draft.onnx.parent)
        with run.stage("join"):
            model = _joined(plan, graphs)
        facts = _facts(plan, specs, files, mode="copy" if linked is None else "link")
        with run.stage("write"):
            write(model, draft.onnx, facts)
            validate(draft.onnx)
        proof = None
        if request.check:
            with run.stage("prove"):
                proof = prove(draft.onnx, plan, on_progress=run.on_progress)
                if not proof.passed:
                    raise _failed(draft.onnx, plan, proof)
            write(model, draft.onnx, {"text_to_image.parity": proof.to_metadata()})
        nbytes = draft.onnx.stat().st_size
        draft.publish()
    return PictureReport(
        target=plan.target,
        pipeline=plan.layout.kind,
        scheduler=type(plan.family.scheduler).__name__,
        nodes=model.graph.num_nodes(),
        functions=len(model.functions),
        weights=facts["weights"],
        nbytes=nbytes,
        proof=proof,
        stages=tuple(run.records),
    )


def _graphs(plan: PicturePlan, run: Run) -> _Graphs:
    wishes = plan.source, plan.dtype, plan.opset, ()
    name = cache.name_of(architecture(*wishes)) if plan.request.cache else None
    unet = cached(name, run) if name else None
    if unet is None:
        unet = build(*wishes, run)
        if name:
            keep(name, unet)
    parts = {
        part.name: build_part(part, "fp32" if part.upcast else plan.dtype, plan.opset, run)
        for part in plan.layout.parts
    }
    models = {UNET: unet.model.clone(), **{key: part.model for key, part in parts.items()}}
    return _Graphs(unet, parts, models)


def _weights(plan: PicturePlan, graphs: _Graphs) -> tuple[Joined, Mapping[str, str]]:
    """What is kept, and the name in there of every parameter."""
    sources = {f"{UNET}.{name}": f"{UNET}.{name}" for name in graphs.parameters(UNET)}
    for part in plan.layout.parts:
        for name in graphs.parameters(part.name):
            sources[f"{part.name}.{name}"] = f"{part.name}.{part.spec(name).name}"
    members = {UNET: plan.source.weights, **{p.name: p.weights for p in plan.layout.parts}}
    return Joined(members, frozenset(sources.values())), sources


def _linked(plan: PicturePlan, weights: Joined) -> Mapping[str, TensorSpec] | None:
    if plan.request.weights == "copy":
        return None
    folder = plan.target.parent.resolve()
    try:
        specs = link_weights(weights, folder, plan.dtype)
    except UsageError:
        if plan.request.weights == "link":
            raise
        return None
    return {name: spec.moved(folder, plan.target.parent) for name, spec in specs.items()}


def _stored(
    plan: PicturePlan,
    draft: Draft,
    weights: Joined,
    linked: Mapping[str, TensorSpec] | None,
    on_progress: OnProgress,
) -> tuple[Mapping[str, TensorSpec], Mapping[str, str]]:
    """Where each tensor lies, and SHA-256 by file."""
    if linked is not None:
        sums: dict[str, str] = {}
        for name, member in weights.members.items():
            found = digest(member.files, on_progress)
            sums |= {f"{name}/{file}": value for file, value in found.items()}
        return linked, sums
    assert draft.weights is not None
    stored = copy_weights(weights, draft.weights, plan.dtype, on_progress)
    return stored.specs, {draft.weights.name: stored.sha256}


def _attach(
    graphs: _Graphs,
    sources: Mapping[str, str],
    specs: Mapping[str, TensorSpec],
    folder: Path,
) -> None:
    for name, model in graphs.models.items():
        parameters = graphs.parameters(name)
        own = {one: specs[sources[f"{name}.{one}"]] for one in parameters}
        attach_as(model, own, folder, parameters)


def _joined(plan: PicturePlan, graphs: _Graphs) -> ir.Model:
    fold(graphs.models[UNET], graphs.unet.classes)
    for part in plan.layout.parts:
        fold_part(graphs.parts[part.name], part)
    parts = {part.name: graphs.models[part.name] for part in plan.layout.parts}
    model = picture_graph(plan.layout, graphs.models[UNET], parts, plan.family)
    model.graph.doc_string = _doc(plan)
    return model


def _doc(plan: PicturePlan) -> str:
    return (
        f"`{plan.layout.kind}` as one graph: token ids and noise in, the image out.\n\n"
        "docs/SAMPLING.md explains every part."
    )


def _facts(
    plan: PicturePlan,
    specs: Mapping[str, TensorSpec],
    files: Mapping[str, str],
    mode: str,
) -> dict[str, Any]:
    """What the file says about itself; docs/FORMAT.md."""
    source, scheduler = plan.source, type(plan.family.scheduler).__name__
    config = {k: v for k, v in plan.family.config.items() if not k.startswith("_")}
    return {
        "format": meta.FORMAT_VERSION,
        "model": source.name,
        "model.class": source.class_name,
        "model.config": dict(source.config),
        "size_multiple": str(source.size_multiple),
        "legend": meta.legend(meta.ROLES, meta.SAMPLER_ROLES, meta.PICTURE_ROLES),
        "sampler": {"scheduler": scheduler, "config": config, "unet": UNET},
        "text_to_image": {
            "pipeline": plan.layout.kind,
            "parts": {
                part.name: {"class": part.class_name, "config": dict(part.config)}
                for part in plan.layout.parts
            },
            "zero_negative": plan.layout.zeroed,
        },
        "weights": {
            "source": "checkpoint",
            "mode": mode,
            "dtype": plan.dtype,
            "parameters": sum(math.prod(spec.shape) for spec in specs.values()),
            "bytes": sum(spec.nbytes for spec in specs.values()),
            "files": {name: f"sha256:{value}" for name, value in files.items()},
        },
        "versions": versions(),
        "text_to_image.parity": {"verdict": "skipped"},
    }


def _failed(path: Path, plan: PicturePlan, proof: Proof[Difference]) -> ParityError:
    worst = proof.worst
    return ParityError(
        f"the image differs from {plan.layout.kind}'s at {worst.case.name} by "
        f"{worst.ratio:.3g} noise floors; {locate(path, plan, worst.case)}",
        do="the target is as it was",
    )
