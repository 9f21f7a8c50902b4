"""onnxslim on PyTorch's own graph."""

from __future__ import annotations

from bench_tools.environment import Environment
from bench_tools.peer import Job, Peer

ENVIRONMENT = Environment("onnxslim", ("onnxslim",), ("onnxslim", "onnx"))


def _command(job: Job) -> list[str]:
    return [
        str(job.bin / "onnxslim"),
        str(job.source),
        str(job.target),
        "--save-as-external-data",
    ]


PEER = Peer(
    "onnxslim",
    "onnxslim on the graph of torch.onnx, dynamo=True",
    _command,
    environment=ENVIRONMENT,
    source="torch-dynamo",
)
