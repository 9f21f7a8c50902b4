"""Where a pixel looks: its row of every self-attention that was recorded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from viewer.errors import RecordingError
from viewer.model.recording import Array, Recording
from viewer.replay.words import enlarged

KIND = "attention.self."


@dataclass(frozen=True)
class Pixel:
    """A place of the latents, from 0."""

    y: int
    x: int


def layers(recording: Recording) -> list[int]:
    """Indices of ``selves`` whose maps are there.

    Raises:
        RecordingError: None are.
    """
    listed = range(len(recording.listed("selves")))
    found = [index for index in listed if f"{KIND}{index}" in recording.shapes]
    if not found:
        raise RecordingError(
            f"{recording.path.name} has no self-attention", "one of exporter.sample --self"
        )
    return found


def looks(recording: Recording, pixel: Pixel, row: int) -> Iterator[list[Array]]:
    """For each step, where a pixel looks in each of ``layers``, (h, w) float32, sums 1.

    Args:
        recording: With self-attention.
        pixel: Which; a smaller layer has it at the place that covers it.
        row: Which half.

    Raises:
        RecordingError: No self-attention, or no such pixel.
    """
    found = layers(recording)
    height, width = recording.shapes["latents"][-2:]
    if not (0 <= pixel.y < height and 0 <= pixel.x < width):
        raise RecordingError(
            f"--pixel {pixel.y},{pixel.x}", f"0 to {height - 1} and 0 to {width - 1}"
        )
    levels = [_level(recording.listed("selves")[index]) for index in found]
    for step in range(recording.steps):
        maps = [recording.step(f"{KIND}{index}", step)[row] for index in found]
        yield [_look(one, pixel, level) for one, level in zip(maps, levels, strict=True)]


def together(maps: list[Array]) -> Array:
    """The mean of maps at the size of the largest, smaller ones enlarged bilinearly."""
    size = max((one.shape for one in maps), key=lambda shape: shape[0])
    mean: Array = np.mean([enlarged(one, size) for one in maps], 0).astype(np.float32)
    return mean


def _level(attention: Mapping[str, Any]) -> int:
    level = attention.get("level")
    return level if isinstance(level, int) and 0 <= level < 16 else 0


def _look(maps: Array, pixel: Pixel, level: int) -> Array:
    """One query's map of (places, h, w); each level has half the places, rounded up."""
    rows, columns = maps.shape[-2:]
    y, x = min(pixel.y >> level, rows - 1), min(pixel.x >> level, columns - 1)
    look: Array = maps[y * columns + x].astype(np.float32)
    return look
