"""``torch.onnx.export(dynamo=False)``: PyTorch's TorchScript exporter, as it comes."""

from __future__ import annotations

import sys
from pathlib import Path

from bench_tools.environment import TORCH
from bench_tools.peer import Job, Peer
from bench_tools.peers.example import AXES, load

MODULE = "bench_tools.peers.torch_legacy"


def _command(job: Job) -> list[str]:
    return job.python(MODULE, job.checkpoint, job.target)


PEER = Peer("torch-legacy", "torch.onnx, dynamo=False", _command, environment=TORCH)


def main(checkpoint: str, target: str) -> None:
    """Exports with dynamic axes."""
    import torch

    unet, inputs = load(Path(checkpoint))
    torch.onnx.export(
        unet,
        tuple(inputs.values()),
        target,
        dynamo=False,
        input_names=list(inputs),
        output_names=["out_sample"],
        dynamic_axes={name: AXES[name] for name in [*inputs, "out_sample"]},
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
