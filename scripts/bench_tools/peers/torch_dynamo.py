"""``torch.onnx.export(dynamo=True)``: over ``torch.export``, as it comes."""

from __future__ import annotations

import sys
from pathlib import Path

from bench_tools.environment import TORCH
from bench_tools.peer import Job, Peer
from bench_tools.peers.example import AXES, load

MODULE = "bench_tools.peers.torch_dynamo"


def _command(job: Job) -> list[str]:
    return job.python(MODULE, job.checkpoint, job.target)


PEER = Peer("torch-dynamo", "torch.onnx, dynamo=True", _command, environment=TORCH)


def main(checkpoint: str, target: str) -> None:
    """Exports with dynamic axes, named by the exporter: named ones are refused for a UNet."""
    import torch

    unet, inputs = load(Path(checkpoint))
    free = torch.export.Dim.AUTO
    torch.onnx.export(
        unet,
        tuple(inputs.values()),
        target,
        dynamo=True,
        input_names=list(inputs),
        output_names=["out_sample"],
        dynamic_shapes=tuple(dict.fromkeys(AXES[name], free) for name in inputs),
        verbose=False,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
