"""A request -> everything decided and refused before any work."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from exporter import metadata as meta
from exporter.denoising.schedulers import SHORT, load_scheduler
from exporter.errors import ConfigError, TargetError, UsageError
from exporter.guards import guard_target
from exporter.runtime.contract import Contract, read_contract
from exporter.sampler.conditions import INPAINTING, KNOWN
from exporter.sampler.families import family_of
from exporter.sampler.family import Family
from exporter.targets import same
from exporter.types import Provider

SUFFIX = ".sampler.onnx"
SAMPLER = meta.PREFIX + "sampler"


@dataclass(frozen=True)
class SamplerRequest:
    """What was asked for.

    Attributes:
        target: The file to write.
        unet: The UNet's file.
        sampler: A short name (``ddim``), a diffusers class, or a folder with
            ``scheduler_config.json``.
        scheduler: Folder whose ``scheduler_config.json`` says what the model was trained with;
            None to ask ``pipeline``, then to look beside the weights.
        pipeline: Folder of the pipeline that the UNet comes from.
        keep_steps: Also give out the latents after every step.
        check: Prove it.
        provider: Where ONNX Runtime runs.
    """

    target: Path
    unet: Path
    sampler: str
    scheduler: Path | None = None
    pipeline: Path | None = None
    keep_steps: bool = False
    check: bool = True
    provider: Provider = "auto"


@dataclass(frozen=True)
class SamplerPlan:
    """What will be done.

    Attributes:
        request: Its paths are absolute.
        contract: Inputs and metadata of the UNet's file.
        family: The scheduler.
        channels: Of the latents.
    """

    request: SamplerRequest
    contract: Contract
    family: Family
    channels: int


def beside(unet: Path) -> Path:
    """Where the sampler of ``unet.onnx`` lies: ``unet.sampler.onnx``."""
    return unet.with_suffix(SUFFIX)


def find_config(start: Path) -> Mapping[str, Any]:
    """The scheduler config of a pipeline's folder, of one inside it, or of its weights.

    Args:
        start: A pipeline's folder, its ``scheduler`` or ``unet`` folder, or a file in there.

    Returns:
        Empty where there is none.

    Raises:
        ConfigError: There is one that cannot be read.
    """
    for folder in (start, start.parent, start.parent.parent):
        for place in (folder / "scheduler", folder):
            file = place / "scheduler_config.json"
            if file.is_file():
                try:
                    found = json.loads(file.read_bytes())
                except (OSError, ValueError) as error:
                    raise ConfigError(
                        f"{file}: {error}", "a config diffusers saved"
                    ) from error
                return {k: v for k, v in found.items() if not k.startswith("_")}
    return {}


def choose_family(sampler: str, class_name: str, config: Mapping[str, Any]) -> Family:
    """The scheduler by name, with the config the model comes with.

    Args:
        sampler: As ``SamplerRequest.sampler``.
        class_name: The UNet's class, which decides the noise schedule where no config does.
        config: The model's own; may be empty.

    Raises:
        UsageError: No such scheduler.
        ConfigError: Its config asks for what the graph cannot do.
    """
    name, usual = SHORT.get(sampler.lower(), (sampler, {}))
    asked = {"use_karras_sigmas": True} if "use_karras_sigmas" in usual else {}
    settings = {**usual, **config, **asked}  # what the model comes with is no default
    return family_of(load_scheduler(name, 1, class_name=class_name, config=settings))


def make_plan(request: SamplerRequest) -> SamplerPlan:
    """Decides.

    Raises:
        UsageError: The UNet's file is none, or takes inputs that change from step to step.
        ConfigError: The scheduler's config contradicts the UNet, or asks for too much.
        TargetError: The file cannot be written where it was asked for.
    """
    if _is_sampler(request.unet):
        raise UsageError(f"{request.unet.name} is a sampler", "a UNet's file")
    contract = read_contract(request.unet)
    guard_sampler(request.target, request.unet)
    if meta.VARIANT in contract.metadata:
        raise UsageError(
            f"{request.unet.name} has ONNX Runtime's own operators",
            "the portable file it was made beside",
        )
    unknown = [name for name in (*contract.types, *contract.defaults) if name not in KNOWN]
    if unknown:
        raise UsageError(
            f"{request.unet.name} takes {', '.join(unknown[:3])}",
            f"nothing but {', '.join(KNOWN)}, which stay the same over the steps",
        )
    class_name = contract.metadata.get(meta.PREFIX + "model.class", "UNet2DConditionModel")
    folder = request.scheduler or request.pipeline
    config = find_config(folder) if folder else _beside_weights(request)
    if request.scheduler and not config:
        raise UsageError(
            f"--scheduler {request.scheduler}", "a folder with scheduler_config.json"
        )
    if said := contract.metadata.get(meta.PREFIX + "prediction"):
        if request.scheduler:
            require_prediction(config, said, request.scheduler)
        config = {**config, "prediction_type": said}
    family = choose_family(request.sampler, class_name, config)
    return SamplerPlan(request, contract, family, _channels(request.unet, contract))


def require_prediction(config: Mapping[str, Any], said: str, folder: Path) -> None:
    """Refuses a scheduler's folder, named for this UNet, that contradicts it.

    Args:
        config: The folder's.
        said: What the UNet predicts by ``--prediction``, in its file from then on.
        folder: Of ``--scheduler``.

    Raises:
        ConfigError: Its ``prediction_type`` is another.
    """
    told = config.get("prediction_type", said)
    if told != said:
        raise ConfigError(
            f"{folder} has prediction_type {told}",
            f"{said}, which the UNet predicts by --prediction",
            "change one of both",
        )


def guard_sampler(target: Path, unet: Path) -> None:
    """Refuses, before any work, a place where no sampler can be written.

    Raises:
        TargetError: It is the UNet's own file, or another that no export wrote.
    """
    guard_target(target)
    if same(target, unet):
        raise TargetError(f"{target} is the UNet's own file", "another name")
    if os.path.lexists(target) and not _is_sampler(target):
        raise TargetError(
            f"the sampler would replace {target}, which is none",
            do="give it another name",
        )


def _is_sampler(path: Path) -> bool:
    try:
        model = onnx.load(path, "protobuf", load_external_data=False)
    except Exception:  # protobuf raises a class without stubs; it is no ONNX file
        return False
    return any(entry.key == SAMPLER for entry in model.metadata_props)


def _beside_weights(request: SamplerRequest) -> Mapping[str, Any]:
    """From the pipeline's folder that the weights are linked in, or the file lies in."""
    weights = json.loads(_metadata(request.unet).get(meta.PREFIX + "weights", "{}"))
    places = [request.unet.parent / name for name in weights.get("files", ())]
    for place in (*places, request.unet):
        if found := find_config(place.absolute()):
            return found
    return {}


def _metadata(path: Path) -> Mapping[str, str]:
    return read_contract(path).metadata


def _channels(path: Path, contract: Contract) -> int:
    """Of the latents: what the UNet gives out.

    Raises:
        ConfigError: It takes neither as many nor an inpainting UNet's.
    """
    model = onnx.load(path, "protobuf", load_external_data=False)
    out = model.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    taken = contract.shapes["sample"][1]
    if taken not in (out, out + sum(INPAINTING.values())):
        raise ConfigError(
            f"{path.name} takes {taken} channels and gives out {out}",
            "as many, or five more as for inpainting: a learned variance has no step here",
        )
    return int(out)
