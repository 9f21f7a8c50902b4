"""A request -> everything decided and refused before any work."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import onnx

from exporter import metadata as meta
from exporter.errors import ConfigError, SourceError, TargetError, UsageError
from exporter.guards import guard_target
from exporter.plan import DEFAULT_OPSET, OPSETS
from exporter.runtime.providers import Obtained, choose, require_dtype
from exporter.sampler.conditions import KNOWN
from exporter.sampler.family import Family
from exporter.sampler.plan import choose_family, find_config
from exporter.shipped import shipped_folder
from exporter.source import load_source
from exporter.text_to_image.layout import Layout, open_layout, require_fit
from exporter.types import Dtype, Provider, Source, WeightsMode
from exporter.weights.checkpoint import natural_dtype

PICTURE = meta.PREFIX + "text_to_image"


@dataclass(frozen=True)
class PictureRequest:
    """What was asked for.

    Attributes:
        target: The file to write.
        pipeline: Folder in diffusers' layout, or the name of a shipped one.
        sampler: Another scheduler than the pipeline's own: as ``SamplerRequest.sampler``.
        scheduler: Folder whose ``scheduler_config.json`` replaces the pipeline's.
        variant: Of the weights.
        weights: ``auto``, ``link`` or ``copy``.
        dtype: Of all parts; by default the UNet's own.
        opset: 20 to 24.
        check: Prove it.
        provider: Where ONNX Runtime runs.
        cache: Take the UNet's graph from the cache.
    """

    target: Path
    pipeline: str
    sampler: str | None = None
    scheduler: Path | None = None
    variant: str | None = None
    weights: WeightsMode = "auto"
    dtype: Dtype | None = None
    opset: int | None = None
    check: bool = True
    provider: Provider = "auto"
    cache: bool = True


@dataclass(frozen=True)
class PicturePlan:
    """What will be done.

    Attributes:
        request: What was asked for.
        target: The file to write, absolute.
        layout: The pipeline beside its UNet.
        source: Its UNet.
        family: The scheduler.
        dtype: Of all parts.
        opset: Of the default domain.
        provider: Where ONNX Runtime will run; None where it is not asked to.
    """

    request: PictureRequest
    target: Path
    layout: Layout
    source: Source
    family: Family
    dtype: Dtype
    opset: int
    provider: Obtained | None


def make_plan(request: PictureRequest) -> PicturePlan:
    """Decides.

    Raises:
        UsageError: Wishes that cannot be had.
        SourceError: No such pipeline, or a part of it that cannot be exported.
        TargetError: The file could not be written, or would replace another kind of file.
    """
    target = request.target.expanduser().absolute()
    opset = DEFAULT_OPSET if request.opset is None else request.opset
    if opset not in OPSETS:
        raise UsageError(f"--opset {opset}", f"{OPSETS[0]} to {OPSETS[-1]}")
    if request.weights == "packed":
        raise UsageError("--weights packed with --pipeline", "link or copy")
    guard_target(target)
    if os.path.lexists(target) and not is_picture(target):
        raise TargetError(
            f"the pipeline would replace {target}, which is another kind of file",
            do="give it another name",
        )
    provider = choose(request.provider)[0] if request.check else None
    folder = shipped_folder(request.pipeline) or Path(request.pipeline).expanduser()
    if not folder.is_dir():
        raise SourceError(f"no folder {folder}", "a pipeline's folder, or `shapes`")
    layout = open_layout(folder, request.variant)
    source = load_source(str(folder), variant=request.variant)
    unknown = [spec.name for spec in source.inputs if spec.name not in KNOWN]
    if source.class_name != "UNet2DConditionModel" or unknown:
        taken = ", ".join(unknown) or source.class_name
        raise ConfigError(f"the UNet of {folder.name} takes {taken}", "text, noise and time")
    require_fit(layout, source)
    dtype = request.dtype or _dtype_of(request, source)
    if provider:
        require_dtype(provider, dtype)
    return PicturePlan(
        request, target, layout, source, _family(request, layout), dtype, opset, provider
    )


def _family(request: PictureRequest, layout: Layout) -> Family:
    config = layout.config
    if request.scheduler is not None:
        config = find_config(request.scheduler)
        if not config:
            raise UsageError(
                f"--scheduler {request.scheduler}", "a folder with scheduler_config.json"
            )
    name = request.sampler or layout.scheduler
    return choose_family(name, "UNet2DConditionModel", config)


def _dtype_of(request: PictureRequest, source: Source) -> Dtype:
    if shipped_folder(request.pipeline):
        return "fp32"  # stored in half precision only to be small
    return natural_dtype(source.weights)


def is_picture(path: Path) -> bool:
    """Whether a file is a text-to-image file of ours."""
    try:
        model = onnx.load(path, "protobuf", load_external_data=False)
    except Exception:  # protobuf raises a class without stubs; it is no ONNX file
        return False
    return any(entry.key == PICTURE for entry in model.metadata_props)
