"""Google's Model Explorer on our file, with the ONNX adapter that pip has."""

from __future__ import annotations

from bench_tools.environment import Environment
from bench_tools.peer import Peer

ENVIRONMENT = Environment(
    "model-explorer",
    ("ai-edge-model-explorer==0.1.34", "model-explorer-onnx==0.4.2"),
    ("ai-edge-model-explorer", "model-explorer-onnx"),
)

PEER = Peer(
    "model-explorer",
    "Model Explorer on ours",
    None,
    environment=ENVIRONMENT,
    source="atlas",
    runs=False,
    viewer="model_explorer",
)
