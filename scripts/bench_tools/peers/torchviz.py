"""torchviz: the graph of the backward pass, as Graphviz's language."""

from __future__ import annotations

import sys
from pathlib import Path

from bench_tools.environment import Environment
from bench_tools.peer import Job, Peer
from bench_tools.peers.example import load

MODULE = "bench_tools.peers.torchviz"
ENVIRONMENT = Environment(
    "torchviz",
    ("torch", "diffusers", "transformers", "torchviz==0.0.3"),
    ("torchviz", "graphviz", "torch", "diffusers"),
)


def _command(job: Job) -> list[str]:
    return job.python(MODULE, job.checkpoint, job.target)


PEER = Peer(
    "torchviz",
    "torchviz, drawn by Graphviz",
    _command,
    writes="model.dot",
    environment=ENVIRONMENT,
    runs=False,
    viewer="graphviz",
)


def main(checkpoint: str, target: str) -> None:
    """Runs the UNet with gradients on, which is what torchviz reads, and writes its dot."""
    from torchviz import make_dot

    unet, inputs = load(Path(checkpoint))
    unet.requires_grad_(True)
    output = unet(*inputs.values())
    dot = make_dot(output, params=dict(unet.named_parameters()))
    Path(target).write_text(dot.source)


if __name__ == "__main__":
    main(*sys.argv[1:])
