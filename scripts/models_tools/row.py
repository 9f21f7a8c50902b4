"""One configuration: exported and proven, or refused; what its file then says of itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import diffusers
import torch

from exporter.conditions.controlnet import CLASS as CONTROLNET
from exporter.conditions.residuals import with_conditions
from exporter.errors import AtlasError, GraphError, ParityError
from exporter.pipeline import export
from exporter.report import ExportReport
from exporter.source import CLASSES, load_source
from exporter.types import ExportRequest, Source
from exporter.weights.image_prompt import require_place
from viewer.model.atlas import read

SEED = 0


@dataclass(frozen=True)
class Row:
    """A line of docs/MODELS.md.

    Attributes:
        name: Where diffusers tests it, or which setting it is about.
        class_name: Its diffusers class.
        verdict: ``proven``, ``refused`` or ``failed``.
        told: The worst case in noise floors, or why not.
        roles: How many of each role were found, as people count them.
        map: Which arms of the U the viewer draws.
        conditions: What else can be given to it.
    """

    name: str
    class_name: str
    verdict: str
    told: str
    roles: str = ""
    map: str = ""
    conditions: str = ""


def row(name: str, class_name: str, config: Mapping[str, Any], folder: Path) -> Row:
    """Makes the model with random weights, and asks the exporter for a proven file."""
    try:
        if class_name in CLASSES:
            _save(class_name, config, folder)
        else:
            folder.mkdir(parents=True)
            (folder / "config.json").write_text(f'{{"_class_name": "{class_name}"}}')
        target = folder / "unet.onnx"
        report, flat = _export(target, folder)
    except ParityError as error:
        return Row(name, class_name, "failed", str(error))
    except AtlasError as error:
        return Row(name, class_name, "refused", str(error).replace(f"{folder}/", ""))
    return Row(
        name,
        class_name,
        "proven",
        _floors(report) + (", with `--flat` only" if flat else ""),
        _roles(report),
        _map(target),
        _conditions(load_source(str(folder))),
    )


_KNOWN = {
    "class_labels": "class",
    "text_embeds": "pooled text",
    "timestep_cond": "guidance",
    "image_embeds": "image embedding",
    "hint": "hint",
}


def _save(class_name: str, config: Mapping[str, Any], folder: Path) -> None:
    torch.manual_seed(SEED)
    model = getattr(diffusers, class_name).from_config(dict(config))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if class_name == CONTROLNET and name.startswith("controlnet_"):
                parameter.normal_(std=0.1)  # zero-convolutions would hand on nothing
    model.save_pretrained(folder)


def _export(target: Path, folder: Path) -> tuple[ExportReport, bool]:
    """The report, and whether there is a file without functions only."""
    request = ExportRequest(target, model=str(folder), provider="cpu", cache=False)
    try:
        return export(request), False
    except GraphError as error:
        if error.do != "use --flat":
            raise
    return export(replace(request, flat=True)), True


def _floors(report: ExportReport) -> str:
    assert report.parity is not None
    worst = max(case.floor.ratio for case in report.parity.cases if case.floor)
    return f"{worst:.2g}x the noise floor"


def _roles(report: ExportReport) -> str:
    names = {
        "cross_attention": "cross",
        "self_attention": "self",
        "joint_attention": "joint",
        "time_injection": "time",
        "skip": "skips",
    }
    counts = asdict(report.roles)
    return ", ".join(f"{counts[key]} {name}" for key, name in names.items() if counts[key])


def _map(target: Path) -> str:
    kinds = [block.kind for block in read(target).blocks]
    found = (f"{kinds.count(k)} {k}" for k in ("down", "mid", "up", "zero") if k in kinds)
    return ", ".join(found)


def _conditions(source: Source) -> str:
    """What the options would be accepted for; conditions are proven in tests, not here."""
    asked: dict[str, Callable[[], object]] = {
        "residuals": lambda: with_conditions(source, ("controlnet", "adapter")),
        "IP-Adapter": lambda: require_place(source),
    }
    found = ["text"] if any(s.name == "encoder_hidden_states" for s in source.inputs) else []
    found += [_KNOWN[spec.name] for spec in source.inputs if spec.name in _KNOWN]
    for name, ask in asked.items():
        try:
            ask()
        except AtlasError:
            continue
        found.append(name)
    return ", ".join(found)
