"""What a sampler's file says of its scheduler, and how its UNet is fed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from exporter import metadata as meta
from exporter.errors import UsageError
from exporter.json_text import json_object

SAMPLER = meta.PREFIX + "sampler"


@dataclass(frozen=True)
class Stage:
    """What a sampler's file says of its scheduler.

    Attributes:
        scheduler: diffusers' class.
        config: All its values.
    """

    scheduler: str
    config: Mapping[str, Any]


def stage_in(props: Mapping[str, str], name: str) -> Stage | None:
    """The sampling stage of a file; None where it is one call of a UNet.

    Args:
        props: Metadata of the model.
        name: Of the file.

    Raises:
        UsageError: A text-to-image file, whose loop lies deeper, or damaged metadata.
    """
    if meta.PREFIX + "text_to_image" in props:
        raise UsageError(
            f"{name} is a whole pipeline", "a UNet's file, or a sampler's", "see --sampler"
        )
    if SAMPLER not in props:
        return None
    said = json_object(props[SAMPLER], f"sampler of {name}")
    scheduler, config = said.get("scheduler"), said.get("config")
    if not isinstance(scheduler, str) or not isinstance(config, dict):
        raise UsageError(f"damaged annotations in {name}", "a file as it was written")
    return Stage(scheduler, config)
