"""Scalars and images of a recording for TensorBoard, without TensorFlow and without torch."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from viewer.errors import TargetError
from viewer.model.recording import Array, Recording
from viewer.replay.plots import frame, maps_figure

if TYPE_CHECKING:
    from tensorboard.compat.proto.summary_pb2 import Summary

INSTALL = "pip install tensorboard"
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
        TargetError: TensorBoard is not installed, or the folder cannot be written to.
    """
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter
    except ImportError as error:
        raise TargetError("TensorBoard is not installed", "", INSTALL) from error
    when = recording.path.stat().st_mtime
    target = folder / recording.path.stem / "events.out.tfevents.0.unet-atlas-recording"
    sibling = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with sibling.open("wb") as file:
            writer = RecordWriter(file)
            begin = Event(wall_time=when, file_version="brain.Event:2")
            writer.write(begin.SerializeToString())
            for step in range(recording.steps):
                summary = Summary(
                    value=[
                        *_scalars(recording, step, Summary),
                        *_images(recording, step, Summary),
                    ]
                )
                event = Event(wall_time=when + step, step=step, summary=summary)
                writer.write(event.SerializeToString())
        sibling.replace(target)
    except OSError as error:
        sibling.unlink(missing_ok=True)
        raise TargetError(
            f"{target} cannot be written ({error.strerror})", "a folder for runs"
        ) from error
    return target


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
    yield _image("image", _enlarged(frame(recording, step)), kind)
    for row, name in enumerate(recording.rows):
        figure = maps_figure(recording, step, row)
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
