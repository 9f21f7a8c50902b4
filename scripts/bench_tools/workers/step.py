"""``step MODE DEVICE CHECKPOINT MODEL BATCH PIXELS REFERENCE.npy``: one way of running a step.

Prints seconds to set up (the first step included, which compiles or records), median, lowest
and highest seconds of a step, memory taken on the device, and the largest difference from the
reference's output. The mode that finds no reference writes it.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from bench_tools.modes import MODES, Mode
from bench_tools.workers.reference import as_arguments
from exporter.parity.cases import ParityCase
from exporter.parity.inputs import make_inputs
from exporter.source import load_source
from exporter.torch_dtypes import TORCH_DTYPES
from exporter.types import Source
from exporter.weights.unet import load_unet

PATIENCE = 10.0
"""Seconds of measured steps, of which there are at least five and at most fifty."""

_PIXELS = 8  # of an image along one latent pixel

Step = Callable[[], None]
Output = Callable[[], Any]


def main(*arguments: str) -> None:
    """Measures one mode."""
    name, device, checkpoint, model, batch, pixels, reference = arguments
    mode = next(one for one in MODES if one.name == name)
    source = load_source(checkpoint)
    latent = int(pixels) // _PIXELS
    case = ParityCase(batch=int(batch), height=latent, width=latent)
    inputs = make_inputs(case, source, mode.dtype)
    before = _taken(device)
    start = time.perf_counter()
    if mode.engine == "ort":
        step, output = _onnxruntime(mode, device, model, inputs, case)
    else:
        step, output = _torch(mode, device, source, inputs)
    step()
    setup = time.perf_counter() - start
    times = _measure(step)
    figures = {
        "setup": setup,
        "median": statistics.median(times),
        "low": min(times),
        "high": max(times),
        "memory": _taken(device) - before,
        "difference": _difference(output(), Path(reference)),
    }
    sys.stdout.write(json.dumps(figures) + "\n")


def _torch(
    mode: Mode, device: str, source: Source, inputs: dict[str, torch.Tensor]
) -> tuple[Step, Output]:
    torch.backends.cuda.matmul.allow_tf32 = mode.tf32
    torch.backends.cudnn.allow_tf32 = mode.tf32
    unet: Any = torch.nn.Module.to(load_unet(source, TORCH_DTYPES[mode.dtype]), device)
    if mode.engine == "compile":
        unet = torch.compile(unet, mode="reduce-overhead" if mode.graphs else "default")
    arguments = as_arguments({name: one.to(device) for name, one in inputs.items()})
    last: list[torch.Tensor] = []

    def step() -> None:
        with torch.inference_mode():
            last[:] = [unet(**arguments)[0]]
        if device == "cuda":
            torch.cuda.synchronize()

    return step, lambda: last[0].float().cpu().numpy()


def _onnxruntime(
    mode: Mode, device: str, model: str, inputs: dict[str, torch.Tensor], case: ParityCase
) -> tuple[Step, Output]:
    session = _session(mode, device, model, case)
    feeds = {name: one.numpy() for name, one in inputs.items()}
    if not mode.binding:
        results: list[Any] = []

        def copying() -> None:
            results[:] = session.run(None, feeds)

        return copying, lambda: results[0].astype(np.float32)
    value = onnxruntime.OrtValue.ortvalue_from_numpy
    bound = {name: value(one, device, 0) for name, one in feeds.items()}
    # An output on the device, at one address: what a recorded graph writes to.
    shape = (case.batch, session.get_outputs()[0].shape[1], case.height, case.width)
    result = value(np.zeros(shape, feeds["sample"].dtype), device, 0)
    binding = session.io_binding()
    for name, one in bound.items():
        binding.bind_ortvalue_input(name, one)
    binding.bind_ortvalue_output("out_sample", result)
    binding.synchronize_inputs()

    def step() -> None:
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()

    return step, lambda: result.numpy().astype(np.float32)


def _session(mode: Mode, device: str, model: str, case: ParityCase) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    wanted: list[Any] = ["CPUExecutionProvider"]
    if device == "cuda":
        if hasattr(onnxruntime, "preload_dlls"):
            onnxruntime.preload_dlls()  # CUDA as PyTorch's packages bring it
        chosen = {"use_tf32": str(int(mode.tf32)), "enable_cuda_graph": str(int(mode.graphs))}
        wanted.insert(0, ("CUDAExecutionProvider", chosen))
    if mode.graphs:  # a recorded graph has one size; known sizes need no arithmetic on the CPU
        sizes = {"B": case.batch, "H": case.height, "W": case.width, "S": case.tokens, "T": 1}
        for name, size in sizes.items():
            options.add_free_dimension_override_by_name(name, size)
    session = onnxruntime.InferenceSession(model, options, wanted)
    if device == "cuda" and session.get_providers()[0] != "CUDAExecutionProvider":
        raise SystemExit("error: ONNX Runtime fell back to the CPU")
    return session


def _measure(step: Step) -> list[float]:
    times: list[float] = []
    step()
    while len(times) < 5 or (sum(times) < PATIENCE and len(times) < 50):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return times


def _taken(device: str) -> int:
    """Bytes in use: on the device by everyone, else this process's peak."""
    if device == "cuda":
        free, total = torch.cuda.mem_get_info()
        return total - free
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _difference(output: Any, reference: Path) -> float:
    if not reference.exists():
        np.save(reference, output)
        return 0.0
    return float(np.abs(output - np.load(reference)).max())


if __name__ == "__main__":
    main(*sys.argv[1:])
