"""The UNet and the inputs that PyTorch's tracers are given; runs in a peer's environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

LATENT = 64
"""Largest latent height and width; a smaller ``sample_size`` is kept."""

AXES: dict[str, dict[int, str]] = {
    "sample": {0: "batch", 2: "height", 3: "width"},
    "timestep": {},
    "encoder_hidden_states": {0: "batch", 1: "sequence"},
    "text_embeds": {0: "batch"},
    "time_ids": {0: "batch"},
    "out_sample": {0: "batch", 2: "height", 3: "width"},
}
"""Dynamic axes of every input and of the output, as a pipeline needs them."""


def load(checkpoint: Path) -> tuple[Any, dict[str, Any]]:
    """The UNet behind one positional signature, and example inputs by name.

    Args:
        checkpoint: A diffusers folder.

    Returns:
        A module that takes the inputs in their order and returns one tensor, and the inputs:
        a batch of 2, 77 tokens.
    """
    import torch
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel.from_pretrained(checkpoint).eval().requires_grad_(False)
    config = unet.config
    side = min(config.sample_size, LATENT)
    inputs = {
        "sample": torch.randn(2, config.in_channels, side, side),
        "timestep": torch.tensor([500.0]),
        "encoder_hidden_states": torch.randn(2, 77, config.cross_attention_dim),
    }
    if config.addition_embed_type == "text_time":
        total, each = (
            config.projection_class_embeddings_input_dim,
            config.addition_time_embed_dim,
        )
        inputs["text_embeds"] = torch.randn(2, total - 6 * each)
        inputs["time_ids"] = torch.full((2, 6), 512.0)

    class Positional(torch.nn.Module):
        """diffusers' keyword arguments as positional ones."""

        def __init__(self) -> None:
            super().__init__()
            self.unet = unet

        def forward(
            self, sample: Any, timestep: Any, encoder_hidden_states: Any, *added: Any
        ) -> Any:
            extra = dict(zip(("text_embeds", "time_ids"), added, strict=False)) or None
            return self.unet(
                sample,
                timestep,
                encoder_hidden_states,
                added_cond_kwargs=extra,
                return_dict=False,
            )[0]

    return Positional().eval(), inputs
