"""A recording made small enough to be sent in one page."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
from safetensors.numpy import save

from viewer.model.recording import PREFIX, Array, Recording

BUDGET = 12_000_000
"""Bytes that attention maps may take in all."""

MOST_TOKENS = 12
MAP_PIXELS, PREVIEW_PIXELS = 32, 128
_HEADS = ("attention.heads.", "attention.self.")
_LEFT_OUT = ("out_sample", "plain.seconds", "plain.max_abs")


def condense(recording: Recording, budget: int = BUDGET) -> bytes:
    """The same recording, as docs/RECORDING.md, smaller.

    Attention maps keep the tokens of the prompt and at most 32 pixels a side, and every k-th
    step where all would not fit; previews keep 128 pixels. ``condensed`` in the metadata says
    what was kept. What the UNet returned is left out.

    Args:
        recording: What to condense.
        budget: Bytes for attention maps.
    """
    maps = [name for name in recording.shapes if name.startswith("attention.map.")]
    tokens = max(len(shown_tokens(recording, row)) for row in range(len(recording.rows)))
    tokens = min(tokens, MOST_TOKENS)
    each = sum(_map_bytes(recording.shapes[name], tokens) for name in maps)
    kept = min(recording.steps, max(1, budget // each)) if each else recording.steps
    steps = [index * recording.steps // kept for index in range(kept)]
    tensors: dict[str, Array] = {}
    for name in recording.shapes:
        if name in maps:
            tensors[name] = np.stack(list(_maps(recording, name, steps, tokens)))
        elif name == "preview":
            tensors[name] = np.stack(list(_previews(recording)))
        elif name == "latents" or (name == "clean" and "preview" not in recording.shapes):
            tensors[name] = recording.read(name).astype(np.float16)
        elif name not in _LEFT_OUT and name != "clean" and not name.startswith(_HEADS):
            tensors[name] = recording.read(name)
    condensed = {"map_steps": steps, "map_tokens": tokens, "map_pixels": MAP_PIXELS}
    metadata = {**recording.metadata, "condensed": condensed}
    content: bytes = save(
        {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()},
        {PREFIX + key: json.dumps(value) for key, value in metadata.items()},
    )
    return content


def shown_tokens(recording: Recording, row: int) -> tuple[str, ...]:
    """The first tokens of a row: up to the end of the prompt, and not too many."""
    tokens = recording.tokens(row)
    ends = [i for i, token in enumerate(tokens) if token == "<|endoftext|>"]
    count = ends[0] + 1 if ends else len(tokens)
    return tokens[: min(max(count, 2), MOST_TOKENS)]


def shrink(images: Array, most: int) -> Array:
    """(..., h, w) images by a whole factor, so that neither side exceeds ``most``: means.

    Sizes that the factor does not divide are padded with their own edge.
    """
    height, width = images.shape[-2:]
    factor = -(-max(height, width) // most)
    if factor == 1:
        return images
    edges = [(0, 0)] * (images.ndim - 2) + [(0, -height % factor), (0, -width % factor)]
    padded = np.pad(images.astype(np.float32), edges, mode="edge")
    tall, wide = (size // factor for size in padded.shape[-2:])
    tiled = padded.reshape(*padded.shape[:-2], tall, factor, wide, factor)
    means: Array = tiled.mean(axis=(-3, -1))
    return means


def _map_bytes(shape: tuple[int, ...], tokens: int) -> int:
    factor = -(-max(shape[-2:]) // MAP_PIXELS)
    pixels = -(-shape[-2] // factor) * -(-shape[-1] // factor)
    return 2 * shape[1] * tokens * pixels


def _maps(recording: Recording, name: str, steps: list[int], tokens: int) -> Iterator[Array]:
    for step in steps:
        found = recording.step(name, step)[:, :tokens]
        yield shrink(found, MAP_PIXELS).astype(np.float16)


def _previews(recording: Recording) -> Iterator[Array]:
    for step in range(recording.steps):
        planes = recording.step("preview", step).transpose(2, 0, 1)
        yield shrink(planes, PREVIEW_PIXELS).round().astype(np.uint8).transpose(1, 2, 0)
