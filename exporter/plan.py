"""What a request decides, and what it is refused for: once, before any work."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from exporter.conditions.controlnet import CLASS as CONTROLNET
from exporter.conditions.residuals import with_conditions
from exporter.errors import UsageError
from exporter.guards import guard_target, guard_variant, guard_weights
from exporter.parity.tolerance import require_tolerances
from exporter.source import load_source, with_controlnets
from exporter.types import (
    Dtype,
    ExportRequest,
    OnProgress,
    Source,
    TensorSpec,
    quiet,
)
from exporter.weights.checkpoint import natural_dtype
from exporter.weights.image_prompt import with_ip_adapters
from exporter.weights.store import link_weights

if TYPE_CHECKING:
    from exporter.runtime.providers import Obtained

DEFAULT_OPSET = 24
"""SiLU is one node (``Swish``); see docs/DECISIONS.md for what was measured."""

OPSETS = range(20, 25)


@dataclass(frozen=True)
class Plan:
    """One export, decided.

    Attributes:
        request: What was asked for.
        target: The file to write, absolute.
        source: What is exported; its config is understood, its weights are open.
        dtype: Of parameters and of the inputs that follow the model.
        opset: Of the default domain.
        provider: Where ONNX Runtime will run; None where it is not asked to.
        linked: Where each tensor already lies, when the file is to point there; None when
            weights are copied.
    """

    request: ExportRequest
    target: Path
    source: Source
    dtype: Dtype
    opset: int
    provider: Obtained | None
    linked: Mapping[str, TensorSpec] | None

    @property
    def mode(self) -> Literal["link", "copy", "packed"]:
        """How the weights are kept, as ``atlas.weights`` says."""
        if self.linked is not None:
            return "link"
        return "packed" if self.request.weights == "packed" else "copy"


def make_plan(
    request: ExportRequest,
    on_progress: OnProgress = quiet,
    looking: AbstractContextManager[None] | None = None,
) -> Plan:
    """Decides everything; what needs no look at the model is refused before one is taken.

    Args:
        request: What to export, where to, and how.
        on_progress: Told the bytes of a download.
        looking: Entered only when nothing is left that could be refused without a look.

    Raises:
        UsageError: Wishes that contradict one another or the checkpoint.
        SourceError: There is no such model, or it cannot be exported.
        TargetError: The file could not be written, or would replace someone's own.
        ProviderError: ONNX Runtime cannot run the check.
    """
    target = request.target.expanduser().absolute()
    opset = DEFAULT_OPSET if request.opset is None else request.opset
    if opset not in OPSETS:
        raise UsageError(f"--opset {opset}", f"{OPSETS[0]} to {OPSETS[-1]}")
    if request.optimize:
        _require_variant(opset, request.dtype)
    if "" in request.keep_fp32:
        raise UsageError('--keep-fp32 ""', "a module's path", "use --dtype fp32 for all")
    if request.lora:
        _guard_lora(request)
    if request.guess_mode and not request.controlnets:
        raise UsageError("--guess-mode without --controlnet")
    guard_target(target)
    if request.check:
        require_tolerances(request.atol, request.rtol)
    provider = _provider(request)
    with looking or nullcontext():
        return _look(request, target, opset, provider, on_progress)


def _look(
    request: ExportRequest,
    target: Path,
    opset: int,
    provider: Obtained | None,
    on_progress: OnProgress,
) -> Plan:
    """The rest of the plan, from the model's config and weights."""
    source = load_source(
        request.model,
        subfolder=request.subfolder,
        revision=request.revision,
        variant=request.variant,
        seed=request.seed,
        progress=on_progress,
        use_cache=request.cache,
    )
    if source.class_name == CONTROLNET:
        for option, given in (("lora", request.lora), ("fuse-lora", request.fuse_lora)):
            if given:
                raise UsageError(f"--{option} with a {CONTROLNET}", "a UNet")
    if request.fuse_lora:
        from exporter.weights.fused import with_loras  # torch

        source = with_loras(source, request.fuse_lora)
    source = with_conditions(source, request.conditions)
    source = with_ip_adapters(source, request.ip_adapters)
    source = with_controlnets(source, request.controlnets, guess_mode=request.guess_mode)
    source = replace(source, prediction=request.prediction or source.prediction)
    dtype = request.dtype or _dtype_of(source)
    if request.optimize:
        _require_variant(opset, dtype)
    linked = _linked(request, source, target, dtype)
    if linked is None:
        guard_weights(target, source.weights)
    guard_variant(target, wanted=bool(request.optimize), copy=linked is None)
    if request.check and provider:
        from exporter.runtime.providers import require_dtype

        require_dtype(provider, dtype)
    return Plan(request, target, source, dtype, opset, provider, linked)


def _require_variant(opset: int, dtype: Dtype | None) -> None:
    from exporter.variant import require_variant  # ONNX Runtime's optimiser

    require_variant(opset, dtype)


def _guard_lora(request: ExportRequest) -> None:
    """The branches are added to one flat graph of one dtype."""
    for option, given in (("optimize", request.optimize), ("keep-fp32", request.keep_fp32)):
        if given:
            raise UsageError(f"--lora with --{option}", "one of them")


def _provider(request: ExportRequest) -> Obtained | None:
    """Without a check, CUDA need not be here to have a file made for it."""
    if not (request.check or request.optimize):
        return None
    if not request.check and request.provider == "cuda":
        return "cuda"
    from exporter.runtime.providers import choose  # torch and ONNX Runtime: seconds

    return choose(request.provider)[0]


def _dtype_of(source: Source) -> Dtype:
    if source.origin == "preset":
        return "fp32"  # a shipped pipeline is stored in half precision only to be small
    return natural_dtype(source.weights)


def _linked(
    request: ExportRequest, source: Source, target: Path, dtype: Dtype
) -> Mapping[str, TensorSpec] | None:
    if request.weights in ("copy", "packed"):
        return None
    folder = target.parent.resolve()
    try:
        specs = link_weights(source.weights, folder, dtype, request.keep_fp32)
    except UsageError:
        if request.weights == "link":
            raise
        return None
    return {name: spec.moved(folder, target.parent) for name, spec in specs.items()}
