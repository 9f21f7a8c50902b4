"""``copies UNET SAMPLER DEVICE STEPS SIZE``: what a sampler's loop copies.

Prints the copies between host and device that ONNX Runtime put into the graph, by where they
stand; on a GPU, how many of each direction a round really makes (CUPTI, through PyTorch's
profiler), which finds those without a node too; and, of a loop that does nothing but hand on a
state of a few bytes or of many, seconds a round beside the same node in a row without a loop.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch

from bench_tools import memcpy
from exporter.runtime.providers import EXECUTION_PROVIDERS, Obtained
from exporter.sampler.plan import SamplerRequest, make_plan
from exporter.sampler.setup import Case, make_setup

STATES = (1 << 14, 1 << 26)
"""Bytes: latents of 32x32, and far more than any latents."""
ROUNDS = 20
TRIES = 5

HEAD = '<ir_version: 10, opset_import: ["": 20]> '


def main(unet: str, sampler: str, where: str, steps: str, size: str) -> None:
    """Measures one file."""
    device: Obtained = "cuda" if where == "cuda" else "cpu"
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=Path(sampler).parent) as scratch:
        session = _open(sampler, device, Path(scratch))
        saved = onnx.load(Path(scratch) / "optimised.onnx", load_external_data=False)
        found["nodes"] = asdict(memcpy.nodes(saved))
        runs = [_run(session, unet, sampler, n * int(steps), int(size)) for n in (1, 1, 2)]
        runs[0]()  # allocations
        if device == "cuda":
            short, long = (_activities(run) for run in runs[1:])
            found["round"] = memcpy.per_round(short, long, int(steps))
            found["activities"] = long
        else:
            runs[1]()
        events = json.loads(Path(session.end_profiling()).read_text())
        found["loop"], found["body"] = memcpy.loop_time(events)
    found["state"] = {str(nbytes): _state(nbytes, device) for nbytes in STATES}
    sys.stdout.write(json.dumps(found) + "\n")


def _providers(device: Obtained) -> list[str]:
    return [*dict.fromkeys((EXECUTION_PROVIDERS[device], EXECUTION_PROVIDERS["cpu"]))]


def _open(sampler: str, device: Obtained, scratch: Path) -> Any:
    """A session that leaves its optimised graph and a profile in ``scratch``."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.enable_profiling = True
    options.profile_file_prefix = str(scratch / "profile")
    options.optimized_model_filepath = str(scratch / "optimised.onnx")
    name = "session.optimized_model_external_initializers_file_name"
    options.add_session_config_entry(name, "optimised.bin")
    session = onnxruntime.InferenceSession(sampler, options, _providers(device))
    if EXECUTION_PROVIDERS[device] not in session.get_providers():
        raise SystemExit(f"error: ONNX Runtime has no {device} here; use --device cpu")
    return session


def _run(session: Any, unet: str, sampler: str, steps: int, size: int) -> Callable[[], None]:
    plan = make_plan(SamplerRequest(Path(sampler), Path(unet), "ddim", check=False))
    case = Case(steps, height=size, width=size, tokens=77)
    made = make_setup(plan, case).feeds
    feeds = {spec.name: made[spec.name].numpy() for spec in session.get_inputs()}
    return lambda: session.run(["out_latents"], feeds)


def _activities(run: Callable[[], None]) -> Counter[str]:
    """What the GPU did, by CUPTI's names; ONNX Runtime's work is this process's too."""
    kinds = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=kinds) as profile:
        run()
        torch.cuda.synchronize()
    return Counter(event.name for event in profile.events())


def _state(nbytes: int, device: Obtained) -> dict[str, float]:
    """Seconds of one round of a loop around a ``Neg``, and of a ``Neg`` in a row of them."""
    figures = {}
    for name, write in (("loop", _loop), ("node", _row)):
        short, long = (_seconds(HEAD + write(n), nbytes, device) for n in (1, ROUNDS + 1))
        figures[name] = (long - short) / ROUNDS
    return figures


def _loop(rounds: int) -> str:
    return f"""loop (float[N] x) => (float[N] y) {{
        rounds = Constant <value_int = {rounds}> ()
        y = Loop <body = b (int64 i, bool go, float[N] state) => (bool on, float[N] after) {{
            on = Identity(go)
            after = Neg(state)
        }}> (rounds, , x)
    }}"""


def _row(length: int) -> str:
    names = ["x", *(f"x_{i}" for i in range(length - 1)), "y"]
    nodes = (f"{after} = Neg({before})" for before, after in pairwise(names))
    return "row (float[N] x) => (float[N] y) { " + "\n".join(nodes) + " }"


def _seconds(text: str, nbytes: int, device: Obtained) -> float:
    """The fastest of some runs on one thread, its input and output on the device."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    model = onnx.parser.parse_model(text).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, _providers(device))
    binding = session.io_binding()
    x = np.zeros(nbytes // 4, np.float32)
    binding.bind_ortvalue_input("x", onnxruntime.OrtValue.ortvalue_from_numpy(x, device))
    binding.bind_output("y", device)
    times = []
    for _ in range(TRIES + 1):  # the first allocates
        start = time.perf_counter()
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        times.append(time.perf_counter() - start)
    return min(times[1:])


if __name__ == "__main__":
    main(*sys.argv[1:])
