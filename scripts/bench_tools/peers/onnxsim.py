"""onnxsim on PyTorch's own graph."""

from __future__ import annotations

from bench_tools.environment import Environment
from bench_tools.peer import Job, Peer

ENVIRONMENT = Environment("onnxsim", ("onnxsim",), ("onnxsim", "onnx"))


def _command(job: Job) -> list[str]:
    return [
        str(job.bin / "onnxsim"),
        str(job.source),
        str(job.target),
        "--save-as-external-data",
    ]


PEER = Peer(
    "onnxsim",
    "onnxsim on the graph of torch.onnx, dynamo=True",
    _command,
    environment=ENVIRONMENT,
    source="torch-dynamo",
)
