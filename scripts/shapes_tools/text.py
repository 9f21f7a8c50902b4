"""The tokenizer, in which every word of a caption is one token, and the text encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import transformers

from shapes_tools.scenes import WORDS, Scene

LENGTH = 16  # tokens of an encoded caption; the longest has 14
START, END = "<|startoftext|>", "<|endoftext|>"


def make_tokenizer() -> Any:
    """CLIP's tokenizer, its merges made so that each of ``WORDS`` ends as one token."""
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        while len(parts := _merged(word, merges)) > 1:
            merges.append((parts[0], parts[1]))
    letters = sorted({letter for word in WORDS for letter in word})
    pieces = [
        *letters,
        *(f"{letter}</w>" for letter in letters),
        *("".join(m) for m in merges),
    ]
    names = dict.fromkeys([START, END, *pieces])
    return transformers.CLIPTokenizer(
        vocab={name: index for index, name in enumerate(names)},
        merges=merges,
        model_max_length=LENGTH,
    )


def make_text_encoder(config: dict[str, Any], tokenizer: Any) -> Any:
    """A ``CLIPTextModel`` with random weights."""
    return transformers.CLIPTextModel(
        transformers.CLIPTextConfig(
            vocab_size=len(tokenizer),
            max_position_embeddings=LENGTH,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            **config,
        )
    )


def encode(tokenizer: Any, captions: Sequence[str]) -> torch.Tensor:
    """Token ids, (captions, 16) int64."""
    ids: torch.Tensor = tokenizer(
        list(captions), padding="max_length", max_length=LENGTH, return_tensors="pt"
    ).input_ids
    return ids


def things_of_tokens(scene: Scene) -> list[int]:
    """For each of the 16 tokens the thing that it describes; -1 where there is none."""
    said = [-1 if thing is None else thing for _, thing in scene.words]
    return [-1, *said, *[-1] * (LENGTH - 1 - len(said))]


def _merged(word: str, merges: Sequence[tuple[str, str]]) -> list[str]:
    """What byte-pair encoding makes of a word: every merge that fits, the earliest first."""
    parts = [*word[:-1], f"{word[-1]}</w>"]
    for left, right in merges:
        at = 0
        while at < len(parts) - 1:
            if (parts[at], parts[at + 1]) == (left, right):
                parts[at : at + 2] = [left + right]
            at += 1
    return parts
