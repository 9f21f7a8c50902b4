"""Scalars and images of a recording for TensorBoard, without TensorFlow and without torch."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from viewer.extras import need
from viewer.model.recording import Array, Recording
from viewer.outputs.tensorboard import INSTALL, write_run
from viewer.replay import PLOTS
from viewer.targets import RUN

if TYPE_CHECKING:
    from tensorboard.compat.proto.summary_pb2 import Summary

LEAST_PIXELS = 128


def write(recording: Recording, folder: Path) -> Path:
    """Writes ``<folder>/<recording>/events.out.tfevents...``: one recording, one run.

    The file's name is the same each time, so a run is replaced, not added to. TensorBoard's
    step is the evaluation; its wall time is that of the recording.

    Args:
        recording: What to write.
        folder: A log directory as in ``tensorboard --logdir``; made when it is missing.

    Returns:
        The event file.

    Raises:
        TargetError: TensorBoard or matplotlib is not installed, or the folder cannot be
            written to.
    """
    Event = need("tensorboard.compat.proto.event_pb2", INSTALL).Event  # noqa: N806
    Summary = need("tensorboard.compat.proto.summary_pb2", INSTALL).Summary  # noqa: N806
    when = recording.path.stat().st_mtime
    events = [Event(wall_time=when, file_version="brain.Event:2")]
    for step in range(recording.steps):
        values = [*_scalars(recording, step, Summary), *_images(recording, step, Summary)]
        summary = Summary(value=values)
        events.append(Event(wall_time=when + step, step=step, summary=summary))
    return write_run(events, folder, recording.path.stem, f"{RUN}-recording")


def _scalars(recording: Recording, step: int, kind: type[Summary]) -> Iterator[Summary.Value]:
    for quantity in recording.quantities:
        for row, name in enumerate(recording.rows):
            for place, value in zip(quantity.places, quantity.values[step, row], strict=True):
                skip = f"/{place.label}" if quantity.name.startswith("skip") else ""
                tag = f"{quantity.name}/{place.module}{skip}/{name}"
                yield kind.Value(tag=tag, simple_value=float(value))


def _images(recording: Recording, step: int, kind: type[Summary]) -> Iterator[Summary.Value]:
    if recording.kind != "sampling":
        return
    plots = need(*PLOTS)
    yield _image("image", _enlarged(plots.frame(recording, step)), kind)
    for row, name in enumerate(recording.rows):
        figure = plots.maps_figure(recording, step, row)
        if figure is not None:
            yield _image(f"attention/{name}", figure, kind)


def _image(tag: str, image: Image.Image, kind: Any) -> Summary.Value:
    encoded = io.BytesIO()
    image.save(encoded, "PNG")
    picture = kind.Image(
        height=image.height,
        width=image.width,
        colorspace=3,
        encoded_image_string=encoded.getvalue(),
    )
    value: Summary.Value = kind.Value(tag=tag, image=picture)
    return value


def _enlarged(pixels: Array) -> Image.Image:
    """At least ``LEAST_PIXELS`` wide, pixels as squares."""
    times = max(1, -(-LEAST_PIXELS // pixels.shape[1]))
    return Image.fromarray(np.ascontiguousarray(pixels.repeat(times, 0).repeat(times, 1)))
