"""TensorBoard's ``SummaryWriter.add_graph``."""

from __future__ import annotations

import sys
from pathlib import Path

from bench_tools.environment import Environment
from bench_tools.peer import Job, Peer
from bench_tools.peers.example import load

MODULE = "bench_tools.peers.tensorboard"
ENVIRONMENT = Environment(
    "tensorboard",
    ("torch", "diffusers", "transformers", "tensorboard"),
    ("tensorboard", "torch", "diffusers"),
)


def _command(job: Job) -> list[str]:
    return job.python(MODULE, job.checkpoint, job.target)


PEER = Peer(
    "tensorboard",
    "TensorBoard add_graph",
    _command,
    writes="events",
    environment=ENVIRONMENT,
    runs=False,
    viewer="tensorboard",
)


def main(checkpoint: str, target: str) -> None:
    """Traces the UNet and writes its graph as an event file."""
    from torch.utils.tensorboard import SummaryWriter

    unet, inputs = load(Path(checkpoint))
    with SummaryWriter(target) as writer:
        writer.add_graph(unet, tuple(inputs.values()))


if __name__ == "__main__":
    main(*sys.argv[1:])
