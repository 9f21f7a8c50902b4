"""Where the UNet comes from: a preset, a diffusers folder, a checkpoint file, or the hub."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from exporter.conditions.controlnet import CLASS as CONTROLNET
from exporter.conditions.controlnet import PREFIX, controlnet_specs, own_outputs, require_fit
from exporter.errors import ConfigError, SourceError, UsageError
from exporter.inputs import model_inputs, refuse_unfed, size_multiple
from exporter.json_text import parse_json
from exporter.shipped import shipped, shipped_folder
from exporter.types import Net, OnProgress, Source, Weights, quiet
from exporter.weights.blueprint import Blueprint, blueprint_of
from exporter.weights.checkpoint import Checkpoint, validate
from exporter.weights.hub import fetch
from exporter.weights.joint import JointWeights
from exporter.weights.single_file import open_single_file

CLASSES = ("UNet2DConditionModel", "UNet2DModel", CONTROLNET)
DEFAULT = "sd15"

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def presets() -> tuple[str, ...]:
    """Names of the shipped configurations, the default first."""
    folder = resources.files("exporter") / "presets"
    names = {file.name.removesuffix(".json") for file in folder.iterdir() if file.is_file()}
    return (DEFAULT, *sorted(names - {DEFAULT}), *shipped())


def load_source(
    model: str,
    *,
    subfolder: str = "unet",
    revision: str | None = None,
    variant: str | None = None,
    seed: int = 0,
    progress: OnProgress = quiet,
    use_cache: bool = False,
) -> Source:
    """Finds a UNet, understands its config, and opens its weights without reading them.

    Args:
        model: A preset's name; else a folder, a pipeline's or the UNet's own; else a
            ``.safetensors`` checkpoint in the original layout; else a hub id.
        subfolder: Where a pipeline keeps its UNet.
        revision: Hub branch, tag or commit.
        variant: Variant of the weights, e.g. ``fp16``.
        seed: For a preset's random weights.
        progress: Told the bytes of a download.
        use_cache: What diffusers makes of a checkpoint's config may come from the cache.

    Returns:
        The source. Its weights are checked against its config.

    Raises:
        UsageError: ``revision`` or ``variant`` where they mean nothing.
        SourceError: Nothing of that name.
        ConfigError: Not a UNet's config, or one that asks for inputs that are not fed.
        CheckpointError: Weights that are absent, pickled, broken or of another model.
    """
    folder = shipped_folder(model)
    if folder:
        _refuse_choices(model, revision, variant)
        return _from_folder(folder, model, "preset", subfolder, None, use_cache)
    if model in presets():
        return _from_preset(model, revision, variant, seed)
    path = _existing(model)
    if path and path.is_dir():
        if revision:
            raise UsageError(f"--revision {revision} with the local folder {model}")
        return _from_folder(path, path.resolve().name, "folder", subfolder, variant, use_cache)
    if path:
        return _from_file(path, {"revision": revision, "variant": variant}, use_cache)
    _refuse_unless_hub_id(model)
    root = fetch(model, subfolder, revision, variant, progress)
    return _from_folder(root, model, "hub", subfolder, variant, use_cache)


def with_controlnets(
    source: Source, folders: Sequence[str], *, guess_mode: bool = False
) -> Source:
    """The same UNet with ControlNets in its graph, in this order.

    Args:
        source: The UNet.
        folders: Diffusers folders of a ``ControlNetModel`` each.
        guess_mode: Their strengths are one for each sample, and grow towards the middle.

    Raises:
        SourceError: A folder that holds no ControlNet, or a broken one.
        UsageError: A ControlNet of another family.
    """
    if not folders:
        return source
    nets = tuple(map(_controlnet, folders))
    for net in nets:
        require_fit(net, source, guess_mode=guess_mode)
    weights = [(f"{PREFIX}{index}", net.weights) for index, net in enumerate(nets)]
    return replace(
        source,
        weights=JointWeights(source.weights, weights),
        inputs=(*source.inputs, *controlnet_specs(nets, guess_mode=guess_mode)),
        controlnets=nets,
    )


def _controlnet(name: str) -> Net:
    folder = _existing(name)
    if folder is None or not (folder / "config.json").is_file():
        raise SourceError(f"no config.json in {name}", "the folder of a ControlNet")
    file = folder / "config.json"
    raw = _read_json(file)
    if raw.get("_class_name") != "ControlNetModel":
        raise ConfigError(
            f"{file} has _class_name {raw.get('_class_name')}", "ControlNetModel"
        )
    blueprint = blueprint_of("ControlNetModel", raw)
    weights = Checkpoint.in_folder(folder).with_modern_names(blueprint)
    validate(weights, blueprint)
    config = {"_class_name": "ControlNetModel", **blueprint.config}
    return Net(folder.resolve().name, config, weights)


def _from_preset(name: str, revision: str | None, variant: str | None, seed: int) -> Source:
    _refuse_choices(name, revision, variant)
    if seed < 0:
        raise UsageError(f"--seed {seed}", "0 or more")
    file = resources.files("exporter") / "presets" / f"{name}.json"
    raw = json.loads(file.read_text())
    from exporter.weights.random import RandomWeights  # torch, and a UNet to draw them for
    from exporter.weights.unet import build_from_config

    unet = build_from_config(_class_of(raw, name), raw)
    weights = RandomWeights(unet, seed)
    return _source(name, "preset", type(unet).__name__, Blueprint.of(unet), weights)


def _refuse_choices(preset: str, revision: str | None, variant: str | None) -> None:
    for option, value in (("--revision", revision), ("--variant", variant)):
        if value:
            raise UsageError(
                f"{option} {value} with the preset {preset}, of which there is one"
            )


def _from_folder(
    root: Path,
    name: str,
    origin: Literal["preset", "folder", "hub"],
    subfolder: str,
    variant: str | None,
    use_cache: bool,
) -> Source:
    inner = root / subfolder
    folder = inner if (inner / "config.json").is_file() else root
    if not (folder / "config.json").is_file():
        raise SourceError(f"no config.json in {inner} or {root}", do="see --subfolder")
    raw = _read_json(folder / "config.json")
    class_name = _class_of(raw, str(folder / "config.json"))
    blueprint = blueprint_of(class_name, raw, use_cache=use_cache)
    weights = Checkpoint.in_folder(folder, variant).with_modern_names(blueprint)
    validate(weights, blueprint)
    revision, width = (root.name if origin == "hub" else None), _text_width(folder.parent)
    return _source(name, origin, class_name, blueprint, weights, revision, width)


def _from_file(path: Path, meaningless: Mapping[str, str | None], use_cache: bool) -> Source:
    for option, value in meaningless.items():
        if value:
            raise UsageError(f"--{option} {value} with the file {path.name}")
    found = open_single_file(path)
    class_name = _class_of(found.config, path.name)
    blueprint = blueprint_of(class_name, found.config, use_cache=use_cache)
    validate(found.weights, blueprint)
    source = _source(path.stem, "file", class_name, blueprint, found.weights)
    return replace(source, prediction=found.prediction)


def _existing(model: str) -> Path | None:
    try:
        path = Path(model).expanduser()
        return path if model and path.exists() else None
    except (OSError, RuntimeError):  # too long a name, no such home
        return None


def _refuse_unless_hub_id(model: str) -> None:
    if _HUB_ID.fullmatch(model) and model[0] not in ".~":
        return
    close = difflib.get_close_matches(model, presets(), 1)
    raise SourceError(
        f"no folder {model}",
        f"a folder, a file, a hub id (organisation/name) or one of {', '.join(presets())}",
        f"did you mean {close[0]}?" if close else "",
    )


def _class_of(raw: Mapping[str, Any], where: str) -> str:
    found = raw.get("_class_name")
    if found not in CLASSES:
        raise ConfigError(
            f"{where} has _class_name {found}",
            " or ".join(CLASSES),
        )
    refuse_unfed(found, raw)
    return str(found)


def _source(
    name: str,
    origin: Literal["preset", "folder", "hub", "file"],
    class_name: str,
    blueprint: Blueprint,
    weights: Weights,
    revision: str | None = None,
    text_width: int | None = None,
) -> Source:
    config = blueprint.config
    return Source(
        name=name,
        origin=origin,
        class_name=class_name,
        config={"_class_name": class_name, **config},
        weights=weights,
        inputs=model_inputs(class_name, config, text_width),
        revision=revision,
        size_multiple=size_multiple(class_name, config),
        outputs=own_outputs(config) if class_name == CONTROLNET else ("out_sample",),
    )


def _text_width(pipeline: Path) -> int | None:
    """Width of the pooled text embedding, where the UNet lies beside its text encoders."""
    file = pipeline / "text_encoder_2" / "config.json"
    width = _read_json(file).get("projection_dim") if file.is_file() else None
    return width if isinstance(width, int) else None


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        values = parse_json(path.read_bytes())
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON ({error})") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds a {type(values).__name__}", "a JSON object")
    return values
