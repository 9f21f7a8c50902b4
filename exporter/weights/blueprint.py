"""What diffusers makes of a config, as far as weights and inputs need it: no module at all.

Building a UNet only to read its config and the shapes of its parameters takes seconds of
imports. A blueprint is kept in the cache like a graph, by everything it depends on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from exporter import cache

if TYPE_CHECKING:
    import torch

_REMARKS = frozenset({"_diffusers_version", "_name_or_path"})
"""Private keys of a config that change nothing."""


@dataclass(frozen=True)
class Blueprint:
    """A UNet without its modules.

    Attributes:
        config: Every value of the config, defaults included, without private keys.
        shapes: Of the state dict, in its order.
        integers: Those of its tensors that hold no floating point numbers.
        old_attentions: Paths of attention blocks whose parameters had other names once.
    """

    config: Mapping[str, Any]
    shapes: Mapping[str, tuple[int, ...]]
    integers: frozenset[str]
    old_attentions: tuple[str, ...]

    @classmethod
    def of(cls, unet: torch.nn.Module) -> Blueprint:
        """Read off a module, on any device (``meta`` is enough)."""
        full: Mapping[str, Any] = unet.config  # type: ignore[assignment]
        state = unet.state_dict()
        return cls(
            {key: value for key, value in full.items() if not key.startswith("_")},
            {name: tuple(tensor.shape) for name, tensor in state.items()},
            frozenset(name for name, held in state.items() if not held.is_floating_point()),
            tuple(
                path
                for path, module in unet.named_modules()
                if getattr(module, "_from_deprecated_attn_block", False)
            ),
        )


def blueprint_of(
    class_name: str, raw: Mapping[str, Any], *, use_cache: bool = False
) -> Blueprint:
    """The blueprint of a config, from the cache or from diffusers.

    Args:
        class_name: A diffusers class.
        raw: Its config as stored.
        use_cache: Look there first, and keep what was made.

    Raises:
        ConfigError: diffusers cannot build a UNet from this config.
    """
    name = _name(class_name, raw) if use_cache else None
    content = cache.load(name) if name else None
    if content is not None:
        return _parse(content)
    from exporter.weights.unet import build_from_config  # torch and diffusers: seconds

    text = _text(Blueprint.of(build_from_config(class_name, raw)))
    if name:
        cache.save(name, text)
    return _parse(text)  # the same values as from the cache, lists for tuples


def _name(class_name: str, raw: Mapping[str, Any]) -> str:
    told = {key: value for key, value in raw.items() if key not in _REMARKS}
    return cache.name_of(["blueprint", class_name, json.dumps(told, sort_keys=True)])


def _text(made: Blueprint) -> bytes:
    values = {
        "config": dict(made.config),
        "shapes": {name: list(shape) for name, shape in made.shapes.items()},
        "integers": sorted(made.integers),
        "old_attentions": list(made.old_attentions),
    }
    return json.dumps(values).encode()


def _parse(content: bytes) -> Blueprint:
    values = json.loads(content)
    return Blueprint(
        values["config"],
        {name: tuple(shape) for name, shape in values["shapes"].items()},
        frozenset(values["integers"]),
        tuple(values["old_attentions"]),
    )
