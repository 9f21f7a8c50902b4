"""This project: linked and proven, as it comes; and with parts of that taken away."""

from __future__ import annotations

from collections.abc import Callable

from bench_tools.peer import Job, Peer


def _export(*options: str) -> Callable[[Job], list[str]]:
    def command(job: Job) -> list[str]:
        return job.python(
            "exporter", job.target, "--model", job.checkpoint, "--provider", "cpu", "--quiet",
            "--no-cache", "--report", job.report, *options,
        )  # fmt: skip

    return command


PROVEN = Peer(
    "atlas",
    "UNet Atlas (linked, proven)",
    _export("--weights", "link"),
    writes="atlas.onnx",
    beside_checkpoint=True,
)
UNCHECKED = Peer(
    "atlas-unchecked",
    "UNet Atlas --no-check",
    _export("--weights", "link", "--no-check"),
    writes="atlas-unchecked.onnx",
    beside_checkpoint=True,
)
COPIED = Peer(
    "atlas-copied",
    "UNet Atlas --no-check --weights copy",
    _export("--weights", "copy", "--no-check"),
)
PACKED = Peer(
    "atlas-packed",
    "UNet Atlas --no-check --weights packed",
    _export("--weights", "packed", "--no-check"),
)
FLAT = Peer(
    "atlas-flat",
    "UNet Atlas --no-check --flat; Netron on the flat file",
    _export("--weights", "link", "--no-check", "--flat"),
    writes="atlas-flat.onnx",
    beside_checkpoint=True,
)
VIEWER = Peer(
    "atlas-viewer",
    "UNet Atlas viewer",
    None,
    source="atlas",
    runs=False,
    viewer="atlas",
)
