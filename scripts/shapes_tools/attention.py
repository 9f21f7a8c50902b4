"""Cross-attention that can be looked at: how much each pixel looks at each token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

SMALLEST_MAP = 6
"""Places a side of the maps that count; at 3 a thing has no shape."""


class Watched:
    """An attention processor that keeps its probabilities, the mean over heads.

    Computes what diffusers' ``AttnProcessor`` does for a ``BasicTransformerBlock``'s
    cross-attention (diffusers/models/attention_processor.py), written out.

    Attributes:
        probabilities: Of the last call, (B, H * W, S).
    """

    probabilities: torch.Tensor

    def __call__(
        self,
        attention: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        **_: Any,
    ) -> torch.Tensor:
        """(B, H * W, C) and (B, S, width) to (B, H * W, C)."""

        def split(values: torch.Tensor) -> torch.Tensor:
            rows, count, width = values.shape
            heads = values.view(rows, count, attention.heads, width // attention.heads)
            return heads.transpose(1, 2)

        query = split(attention.to_q(hidden_states))
        key = split(attention.to_k(encoder_hidden_states))
        value = split(attention.to_v(encoder_hidden_states))
        weights = (query @ key.transpose(-1, -2) * attention.scale).softmax(-1)
        self.probabilities = weights.mean(1)
        mixed = (weights @ value).transpose(1, 2).flatten(2)
        out: torch.Tensor = attention.to_out[0](mixed)
        return out


def watch(unet: Any) -> dict[str, Watched]:
    """Gives every cross-attention a watched processor; by module path."""
    watched: dict[str, Watched] = {}
    for name, module in unet.named_modules():
        if name.endswith(".attn2"):
            watched[name] = Watched()
            module.set_processor(watched[name])
    return watched


def maps(watched: Mapping[str, Watched], smallest: int) -> dict[str, torch.Tensor]:
    """Square maps, (B, S, side, side), of the cross-attentions of at least that side."""
    found = {}
    for name, processor in watched.items():
        rows, places, tokens = processor.probabilities.shape
        side = round(places**0.5)
        if side >= smallest:
            found[name] = processor.probabilities.mT.reshape(rows, tokens, side, side)
    return found
