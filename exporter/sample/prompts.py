"""What the UNet is told to paint: encoded text, stored embeddings, or seeded ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from exporter.denoising.conditions import text_embedding
from exporter.errors import SourceError, UsageError

SEEDED_TOKENS = 77  # what CLIP's tokenizers pad to


@dataclass(frozen=True)
class Wanted:
    """What a file wants to know about the text.

    Attributes:
        width: Channels of ``encoder_hidden_states``; None for a model without text.
        pooled: Channels of ``text_embeds``; None for a model without it.
        rows: ``("uncond", "cond")`` under classifier-free guidance, else ``("cond",)``.
    """

    width: int | None
    pooled: int | None
    rows: tuple[str, ...]


@dataclass(frozen=True)
class Word:
    """A word of a prompt, which may be several tokens; a special token is one by itself.

    Attributes:
        text: As the tokenizer spells it.
        tokens: Positions among the S tokens.
    """

    text: str
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class Prompt:
    """Text as the UNet receives it.

    Attributes:
        source: Where it comes from; ``seeded`` embeddings stand for no text at all.
        note: One sentence for people.
        states: ``encoder_hidden_states``, (R, S, width), or None.
        pooled: ``text_embeds``, (R, pooled), or None.
        tokens: What to call each of the S tokens, for every row.
        text: What was asked for, for every row; empty where there is no text.
        words: The words of every row; without a tokenizer each token is one.
    """

    source: Literal["text_encoder", "file", "seeded", "none"]
    note: str
    states: torch.Tensor | None = None
    pooled: torch.Tensor | None = None
    tokens: tuple[tuple[str, ...], ...] = ()
    text: tuple[str, ...] = ()
    words: tuple[tuple[Word, ...], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """What is recorded of it."""
        return {
            "source": self.source,
            "note": self.note,
            "tokens": [list(row) for row in self.tokens],
            "text": list(self.text),
            "words": [[[word.text, list(word.tokens)] for word in row] for row in self.words],
        }


def seeded(wanted: Wanted, seed: int) -> Prompt:
    """Embeddings with the statistics of CLIP's and no meaning; see ``text_embedding``."""
    if wanted.width is None:
        return Prompt("none", "the model takes no text")
    random = torch.Generator().manual_seed(seed)
    count = len(wanted.rows)
    states = text_embedding((count, SEEDED_TOKENS, wanted.width), random)
    pooled = torch.randn(count, wanted.pooled, generator=random) if wanted.pooled else None
    note = f"SEEDED RANDOM embeddings (seed {seed}), no text: tokens have no meaning"
    return _wordless("seeded", note, states, pooled)


def encoded(wanted: Wanted, folder: Path, prompt: str, negative: str) -> Prompt:
    """Text through a pipeline's own tokenizers and text encoders, as diffusers does it.

    One encoder gives its last hidden state. SDXL's two give their last but one, side by side,
    and the second's projection; its unconditional row is zeros where nothing is unwanted.

    Args:
        wanted: What the file wants.
        folder: A pipeline's folder, or a text encoder's with its tokenizer inside or beside.
        prompt: What to paint.
        negative: What not to paint; the unconditional row.

    Raises:
        UsageError: The encoder's width is not the model's, or the model takes no text.
        SourceError: No encoder or tokenizer there, or not CLIP's.
    """
    if wanted.width is None:
        raise UsageError("--text-encoder with a model that takes no text")
    texts = tuple(negative if row == "uncond" else prompt for row in wanted.rows)
    parts = [_encode(*pair, texts, pooled=bool(wanted.pooled)) for pair in _encoders(folder)]
    states = torch.cat([part.states for part in parts], dim=-1)
    pooled = parts[-1].pooled
    if wanted.pooled and not negative and "uncond" in wanted.rows:
        states[0].zero_()  # force_zeros_for_empty_prompt, SDXL's default
        assert pooled is not None
        pooled[0].zero_()
    _check(wanted, states, pooled, str(folder))
    note = f"encoded by {' and '.join(part.name for part in parts)} of {folder.name}"
    last = parts[-1]
    return Prompt("text_encoder", note, states, pooled, last.tokens, texts, last.words)


def stored(wanted: Wanted, file: Path) -> Prompt:
    """Embeddings from a file.

    Args:
        wanted: What the file wants.
        file: ``.npy`` of shape (S, C), (1, S, C) or (2, S, C), the unconditional row first; or
            ``.safetensors`` under diffusers' names ``prompt_embeds``,
            ``negative_prompt_embeds``, ``pooled_prompt_embeds`` and
            ``negative_pooled_prompt_embeds``. A missing unconditional row is zeros.

    Raises:
        UsageError: Shapes that do not fit, or a file of another kind.
    """
    tensors = _read(file)
    states = _rows(wanted, tensors, "prompt_embeds", file)
    pooled = _rows(wanted, tensors, "pooled_prompt_embeds", file) if wanted.pooled else None
    assert states is not None
    _check(wanted, states, pooled, file.name)
    zeros = "uncond" in wanted.rows and not bool(states[0].any())
    note = f"from {file.name}" + (", unconditional row of zeros" if zeros else "")
    return _wordless("file", note, states, pooled)


@dataclass(frozen=True)
class _Part:
    name: str
    states: torch.Tensor
    pooled: torch.Tensor | None
    tokens: tuple[tuple[str, ...], ...]
    words: tuple[tuple[Word, ...], ...]


def _encoders(folder: Path) -> list[tuple[Path, Path]]:
    """Pairs of text encoder and tokenizer folders, in the order of concatenation."""
    names = (("text_encoder", "tokenizer"), ("text_encoder_2", "tokenizer_2"))
    inside = [(folder / encoder, folder / tokenizer) for encoder, tokenizer in names]
    found = [pair for pair in inside if (pair[0] / "config.json").is_file()]
    if found:
        return found
    if (folder / "config.json").is_file():
        beside = folder.parent / folder.name.replace("text_encoder", "tokenizer")
        own = (folder / "tokenizer_config.json").is_file()
        return [(folder, folder if own else beside)]
    raise SourceError(
        f"no text encoder in {folder}",
        "a pipeline's folder with text_encoder/ and tokenizer/",
        "see --text-encoder",
    )


def _encode(encoder: Path, tokenizer: Path, texts: Sequence[str], *, pooled: bool) -> _Part:
    import transformers  # takes seconds

    projects = pooled and encoder.name.endswith("_2")
    kind = transformers.CLIPTextModelWithProjection if projects else transformers.CLIPTextModel
    try:
        words = transformers.CLIPTokenizer.from_pretrained(tokenizer, local_files_only=True)
        model = kind.from_pretrained(encoder, local_files_only=True, dtype=torch.float32)
    except Exception as error:  # transformers raises whatever its parts raise
        reason = " ".join(str(error).split())[:200]
        raise SourceError(
            f"{encoder} or {tokenizer} cannot be loaded: {reason}",
            "CLIP, as diffusers saves",
        ) from error
    ids = words(
        list(texts),
        padding="max_length",
        max_length=min(words.model_max_length, model.config.max_position_embeddings),
        truncation=True,
        return_tensors="pt",
    ).input_ids
    with torch.inference_mode():
        out = model.eval()(ids, output_hidden_states=pooled)
    states = out.hidden_states[-2] if pooled else out.last_hidden_state
    rows = [words.convert_ids_to_tokens(row.tolist()) for row in ids]
    projected = out.text_embeds.clone() if projects else None
    tokens, spelled = tuple(map(_readable, rows)), tuple(map(_words, rows))
    return _Part(encoder.name, states.clone(), projected, tokens, spelled)


def _words(tokens: Sequence[str]) -> tuple[Word, ...]:
    """CLIP's tokens end a word with ``</w>``; special ones stand alone."""
    found, begun = [], 0
    for index, token in enumerate(tokens):
        if token.endswith("</w>") or token.startswith("<|") or index == len(tokens) - 1:
            text = "".join(_readable(tokens[begun : index + 1]))
            found.append(Word(text, tuple(range(begun, index + 1))))
            begun = index + 1
    return tuple(found)


def _readable(tokens: Sequence[str]) -> tuple[str, ...]:
    return tuple(token.removesuffix("</w>") for token in tokens)


def _wordless(
    source: Literal["seeded", "file"],
    note: str,
    states: torch.Tensor,
    pooled: torch.Tensor | None,
) -> Prompt:
    """Embeddings whose tokens have numbers for names."""
    rows, count = states.shape[:2]
    names = tuple(f"#{i}" for i in range(count))
    words = tuple(Word(name, (i,)) for i, name in enumerate(names))
    return Prompt(source, note, states, pooled, (names,) * rows, ("",) * rows, (words,) * rows)


def _read(file: Path) -> Mapping[str, torch.Tensor]:
    try:
        if file.suffix == ".npy":
            array = np.load(file, allow_pickle=False).astype(np.float32)
            rows = torch.from_numpy(array.reshape(-1, *array.shape[-2:]))
            found = {"prompt_embeds": rows[-1:]}
            return found if len(rows) < 2 else {**found, "negative_prompt_embeds": rows[:1]}
        if file.suffix == ".safetensors":
            with safe_open(file, "pt") as opened:
                names = list(opened.keys())
                return {name: opened.get_tensor(name).float() for name in names}
    except (OSError, ValueError, SafetensorError, RuntimeError) as error:
        raise UsageError(f"{file}: {' '.join(str(error).split())}") from error
    raise UsageError(f"{file.name} as embeddings", "a .npy or .safetensors file")


def _rows(
    wanted: Wanted, tensors: Mapping[str, torch.Tensor], name: str, file: Path
) -> torch.Tensor:
    if name not in tensors:
        raise UsageError(f"{file.name} holds {', '.join(tensors)}", name)
    cond = tensors[name]
    rank = 2 if name.startswith("pooled") else 3
    cond = cond.reshape(-1, *cond.shape[1 - rank :])[:1]
    if "uncond" not in wanted.rows:
        return cond
    uncond = tensors.get(f"negative_{name}", torch.zeros_like(cond))
    return torch.cat([uncond.reshape(cond.shape), cond])


def _check(
    wanted: Wanted, states: torch.Tensor, pooled: torch.Tensor | None, where: str
) -> None:
    if states.shape[-1] != wanted.width:
        raise UsageError(
            f"{where} gives embeddings {states.shape[-1]} wide",
            f"{wanted.width}, the model's cross-attention width",
        )
    if wanted.pooled and (pooled is None or pooled.shape[-1] != wanted.pooled):
        got = "no pooled embedding" if pooled is None else f"one {pooled.shape[-1]} wide"
        raise UsageError(f"{where} gives {got}", f"one {wanted.pooled} wide")
