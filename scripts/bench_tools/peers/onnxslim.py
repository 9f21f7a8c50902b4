"""onnxslim on PyTorch's own graph."""

from __future__ import annotations

from bench_tools.environment import Environment
from bench_tools.peer import Job, Peer

ENVIRONMENT = Environment(
    "onnxslim",
    # It asks protobuf for the size of a model; 7 refuses that above 2 GiB, 6.33 answers.
    ("onnxslim==0.1.98", "onnx==1.23.2", "protobuf==6.33.0"),
    ("onnxslim", "onnx", "protobuf"),
    constrained=False,
)


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
