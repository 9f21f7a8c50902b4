"""The parts of a tiny random Stable Diffusion as diffusers saves them."""

from __future__ import annotations

import json
import string
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
import transformers
from safetensors import safe_open

WORDS = ("cat", "red", "hat")
TOKENS, STEPS = 10, 20
XL_WIDTH, XL_POOLED = 64, 32  # of the preset tiny-xl


def save_tokenizer(folder: Path) -> None:
    """CLIP's tokenizer with three words and the letters."""
    letters = [*string.ascii_lowercase, *(f"{c}</w>" for c in string.ascii_lowercase)]
    pairs = [
        pair for word in WORDS for pair in ((word[0], word[1]), (word[:2], f"{word[2]}</w>"))
    ]
    merged = ["".join(pair) for pair in pairs]
    names = [*letters, *merged, "<|startoftext|>", "<|endoftext|>"]
    vocab = {name: index for index, name in enumerate(dict.fromkeys(names))}
    transformers.CLIPTokenizer(
        vocab=vocab, merges=pairs, model_max_length=TOKENS
    ).save_pretrained(folder)


def save_text_encoder(
    folder: Path, width: int, *, projected: int | None = None, **more: Any
) -> None:
    """CLIP's text model with three random layers; ``more`` is further config."""
    torch.manual_seed(1)
    config = transformers.CLIPTextConfig(
        vocab_size=80,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=TOKENS,
        **{
            "projection_dim": projected or width,
            "bos_token_id": 0,
            "eos_token_id": 1,
            **more,
        },
    )
    kind = (
        transformers.CLIPTextModelWithProjection if projected else transformers.CLIPTextModel
    )
    kind(config).save_pretrained(folder)


def save_vae(folder: Path) -> None:
    """An autoencoder that doubles twice instead of three times."""
    torch.manual_seed(2)
    vae: Any = diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(8, 8, 8),
        latent_channels=4,
        norm_num_groups=4,
    )
    vae.save_pretrained(folder)


@dataclass(frozen=True)
class Read:
    """A recording, whole."""

    tensors: Mapping[str, np.ndarray[Any, Any]]
    metadata: Mapping[str, Any]


def read(path: Path) -> Read:
    with safe_open(path, "np") as file:
        tensors = {name: file.get_tensor(name) for name in list(file.keys())}
        texts = file.metadata()
    prefix = "atlas.recording."
    found = {k.removeprefix(prefix): json.loads(v) for k, v in texts.items() if prefix in k}
    return Read(tensors, found)
