"""``reference CHECKPOINT FILE.npz``: one denoising step in PyTorch's eager mode, on the CPU.

Saves its inputs and its output, and prints the median seconds it takes.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from typing import Any

import numpy as np
import torch

from exporter.parity.cases import ParityCase
from exporter.parity.inputs import make_inputs
from exporter.source import load_source
from exporter.weights.unet import load_unet

STEP = ParityCase(batch=1, height=32, width=32, tokens=77, timestep=500.0)
REPEATS = 3


def main(checkpoint: str, path: str) -> None:
    """Runs the step once to warm up and then ``REPEATS`` times."""
    source = load_source(checkpoint)
    inputs = make_inputs(STEP, source, "fp32")
    unet = load_unet(source, torch.float32)
    arguments = as_arguments(inputs)
    times = []
    with torch.inference_mode():
        for _ in range(REPEATS + 1):
            start = time.perf_counter()
            output = unet(**arguments)[0]
            times.append(time.perf_counter() - start)
    arrays: dict[str, Any] = {name: tensor.numpy() for name, tensor in inputs.items()}
    np.savez(path, out_sample=output.numpy(), **arrays)
    sys.stdout.write(json.dumps({"eager": statistics.median(times[1:])}) + "\n")


def as_arguments(inputs: dict[str, torch.Tensor]) -> dict[str, Any]:
    """Graph inputs by name as ``forward`` takes them."""
    named: dict[str, Any] = dict(inputs)
    added = {name: named.pop(name) for name in ("text_embeds", "time_ids") if name in named}
    if added:
        named["added_cond_kwargs"] = added
    return {**named, "return_dict": False}


if __name__ == "__main__":
    main(*sys.argv[1:])
