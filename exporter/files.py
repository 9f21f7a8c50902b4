"""The files of one export: what they say about themselves, and their proof."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
import onnx_ir as ir

from exporter import metadata as meta
from exporter.errors import GraphError, ParityError
from exporter.inputs import LAST
from exporter.publish import Draft, variant_of, write
from exporter.reading.docstrings import model_doc
from exporter.runtime.contract import read_contract
from exporter.types import Dtype, ExportRequest, OnProgress, Progress, Source

if TYPE_CHECKING:
    from exporter.parity.report import ParityReport
    from exporter.parity.subject import Subject
    from exporter.variant import Variant

PACKAGES = (
    "unet-atlas", "torch", "diffusers", "onnx", "onnx-ir", "onnxscript", "onnxsim",
)  # fmt: skip


@dataclass(frozen=True)
class File:
    """One file of an export, from writing to proof.

    Attributes:
        name: What it will be called.
        path: Where it is written.
        model: What it holds.
    """

    name: str
    path: Path
    model: ir.Model

    def sign(self, source: Source, facts: Mapping[str, Any]) -> None:
        """Writes it with what it says about itself, and has ``onnx.checker`` read it."""
        model = self.model
        model.producer_name, model.producer_version = "unet-atlas", version("unet-atlas")
        model.graph.name = source.class_name
        model.graph.doc_string = model_doc(source.name)
        write(model, self.path, facts)
        validate(self.path)


def write_files(
    model: ir.Model,
    variant: Variant | None,
    draft: Draft,
    source: Source,
    weights: Mapping[str, Any],
) -> list[File]:
    """Writes the portable file, then the variant if there is one.

    Args:
        model: The portable model; its external data lies where it says.
        variant: What ``--optimize`` made, its weights attached.
        draft: Where to.
        source: What the files are of.
        weights: As in ``atlas.weights``.

    Raises:
        GraphError: ``onnx.checker`` refuses one.
        TargetError: The disk is full or the folder unwritable.
    """
    facts = _facts(source, weights)
    written = [File(draft.target.name, draft.onnx, model)]
    written[0].sign(source, facts)
    if variant is not None and draft.variant is not None:
        name = variant_of(draft.target).name
        written.append(File(name, draft.variant, variant.model))
        written[1].sign(source, {**facts, **variant.facts})
    return written


def prove(
    written: Sequence[File],
    source: Source,
    request: ExportRequest,
    dtype: Dtype,
    progress: OnProgress,
) -> list[ParityReport]:
    """Checks every file as written; PyTorch answers once. Then each file gets its verdict.

    Raises:
        ParityError: One differs from PyTorch; says where first.
    """
    from exporter.parity.ask import ask  # torch: an export without its check may not need it
    from exporter.parity.cases import cases_of
    from exporter.parity.count import Count
    from exporter.parity.judge import judge
    from exporter.parity.subject import Subject
    from exporter.parity.tolerance import resolve

    source = read_contract(written[0].path).conditioned(source) if request.lora else source
    subject = Subject(source, dtype, request.keep_fp32, request.provider)
    tolerance = resolve(dtype, request.atol, request.rtol)
    cases = cases_of(source)
    count = Count(progress, "parity", (1 + len(written)) * len(cases), "runs")
    answers = ask(subject, cases, on_case=count)
    reports = []
    for file in written:
        report = judge(file.path, subject, answers, tolerance, on_case=count)
        if report.failed:
            raise _failed(report, file, subject, progress)
        reports.append(report)
    for file, report in zip(written, reports, strict=True):
        write(file.model, file.path, {"parity": report.to_metadata()})
    return reports


def _failed(
    report: ParityReport, file: File, subject: Subject, progress: OnProgress
) -> ParityError:
    """What to tell, the first departing operator included: the file is gone after this."""
    from exporter.parity.locate import locate

    progress(Progress("locate"))
    location = locate(file.path, subject, report.to_search, on_progress=progress)
    worst = report.worst
    return ParityError(
        f"{file.name} differs from PyTorch at {worst.name}: {worst.verdict}; {location}",
        do="the target is as it was",
    )


def _facts(source: Source, weights: Mapping[str, Any]) -> dict[str, Any]:
    """What the file says about itself; docs/FORMAT.md."""
    return {
        "format": meta.FORMAT_VERSION,
        "model": source.name,
        "model.class": source.class_name,
        **({"model.revision": source.revision} if source.revision else {}),
        "model.config": dict(source.config),
        "size_multiple": str(source.size_multiple),
        "timesteps": [0, int(LAST)],
        **({"controlnets": _nets(source)} if source.controlnets else {}),
        **({"ip_adapters": _adapters(source)} if source.ip_adapters else {}),
        **({"prediction": source.prediction} if source.prediction else {}),
        "legend": meta.legend(meta.ROLES),
        "weights": weights,
        "versions": versions(),
        "parity": {"verdict": "skipped"},
    }


def _nets(source: Source) -> list[dict[str, Any]]:
    return [{"name": net.name, "config": dict(net.config)} for net in source.controlnets]


def _adapters(source: Source) -> list[dict[str, Any]]:
    return [{"name": one.name, "kind": one.kind} for one in source.ip_adapters]


def versions() -> dict[str, str]:
    """Of the packages that make a file."""
    return {package: version(package) for package in PACKAGES}


def validate(path: Path) -> None:
    """Holds that a file is what the ONNX standard says.

    Raises:
        GraphError: It is not.
    """
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = " ".join(str(error).split())[:300]
        raise GraphError(f"onnx.checker refuses the graph: {reason}") from error
