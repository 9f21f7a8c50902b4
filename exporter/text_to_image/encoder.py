"""CLIP's text encoder as the pipelines ask it: which layer, and what is pooled."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch

from exporter.errors import ConfigError
from exporter.text_to_image.part import Part, open_weights, read_config
from exporter.types import InputSpec
from exporter.weights.unet import EmptyParameters

Layer = Literal["last", "penultimate"]

DOC = """\
CLIP's text encoder: token ids in, one vector for each token out.

{what}"""

WHAT = {
    "last": "The last layer, normalised: `encode_prompt` of Stable Diffusion 1 and 2.",
    "penultimate": "The last layer but one, not normalised: `encode_prompt` of SDXL.",
}


class _TextEncoder(torch.nn.Module):
    """Token ids to the states the pipeline takes, and the pooled embedding if it does."""

    def __init__(self, model: torch.nn.Module, layer: Layer, *, pooled: bool) -> None:
        super().__init__()
        self.traced, self.layer, self.pooled = model, layer, pooled

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        (input_ids,) = tensors
        hidden = self.layer == "penultimate"
        out = self.traced(input_ids=input_ids, output_hidden_states=hidden)
        states = (out.hidden_states[-2] if hidden else out.last_hidden_state,)
        return (*states, out.text_embeds) if self.pooled else states


def text_encoder(
    folder: Path, function: str, layer: Layer, *, pooled: bool, variant: str | None
) -> Part:
    """Understands a text encoder's folder.

    Args:
        folder: Holds ``config.json`` and weights.
        function: What the file calls it.
        layer: Which layer's states the pipeline takes.
        pooled: Whether it also takes the projection of the end of the text.
        variant: Of the weights.

    Raises:
        ConfigError: Not CLIP's.
        CheckpointError: No weights.
    """
    config = read_config(folder)
    class_name = (config.get("architectures") or ["CLIPTextModel"])[0]
    wanted = "CLIPTextModelWithProjection" if pooled else "CLIPTextModel"
    known = (wanted,) if pooled else ("CLIPTextModel", "CLIPTextModelWithProjection")
    if config.get("model_type") != "clip_text_model" or class_name not in known:
        raise ConfigError(
            f"{folder.name} is a {class_name} of type {config.get('model_type')}", wanted
        )
    if config.get("use_attention_mask"):
        raise ConfigError(f"{folder.name} has use_attention_mask", "padding that is seen")
    tokens, width = int(config["max_position_embeddings"]), int(config["hidden_size"])
    if tokens < 2 or width < 1:
        raise ConfigError(f"{folder.name} takes {tokens} tokens of width {width}")
    return Part(
        name=folder.name,
        function=function,
        class_name=wanted,
        config=config,
        weights=open_weights(folder, "model", variant),
        build=lambda: _TextEncoder(_build(wanted, config), layer, pooled=pooled),
        inputs=(InputSpec("input_ids", ("B", tokens), "int64"),),
        outputs=("text_states", "text_embeds") if pooled else ("text_states",),
        doc=DOC.format(what=WHAT[layer]),
        role="text_encoder",
    )


def _build(class_name: str, config: dict[str, Any]) -> torch.nn.Module:
    import transformers  # takes seconds

    try:
        with EmptyParameters("meta"):
            known = transformers.CLIPTextConfig(**config)
            model: torch.nn.Module = getattr(transformers, class_name)(known)
    except Exception as error:  # whatever a constructor does with values it never expected
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"transformers cannot build {class_name}: {reason}") from error
    return model.eval()
