"""``scripts/bench copies``: what it counts, and one run of it on a tiny sampler."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest

from bench_tools import copies, memcpy
from bench_tools.workers import copies as worker
from exporter.pipeline import export
from exporter.sampler.make import make_sampler
from exporter.sampler.plan import SamplerRequest
from exporter.types import ExportRequest

PLANTED = """
<ir_version: 10, opset_import: ["": 20]>
planted (float[N] x, int64 rounds, bool flag) => (float[N] y) {
    above = MemcpyFromHost(x)
    y = Loop <body = round (int64 i, bool go, float[N] state) => (bool on, float[N] next) {
        on = MemcpyToHost(go)
        next = If (flag) <
            then_branch = yes () => (float[N] a) { a = MemcpyFromHost(state) },
            else_branch = no () => (float[N] b) { b = Neg(state) }
        >
    }> (rounds, , above)
}"""


def test_copies_are_found_wherever_they_stand() -> None:
    found = memcpy.nodes(onnx.parser.parse_model(PLANTED))
    assert found.outside == ("MemcpyFromHost above",)
    assert found.inside == ("MemcpyToHost on", "MemcpyFromHost a")
    clean = PLANTED.replace("MemcpyFromHost", "Neg").replace("MemcpyToHost", "Identity")
    assert memcpy.nodes(onnx.parser.parse_model(clean)) == memcpy.Nodes((), ())


def test_copies_without_a_node_are_seen_by_the_round() -> None:
    short = {"Memcpy HtoD (Pageable -> Device)": 12, "Memcpy DtoH (Device -> Pinned)": 1}
    long = {"Memcpy HtoD (Pageable -> Device)": 16, "Memcpy HtoD (Pinned -> Device)": 5}
    long |= {"Memcpy DtoH (Device -> Pinned)": 1, "Memcpy DtoD (Device -> Device)": 400}
    seen = memcpy.per_round(short, long, 10)
    assert seen == {"HtoD": 1, "DtoH": 0}
    found: dict[str, Any] = {"nodes": {"inside": [], "outside": ["one"]}, "round": seen}
    assert copies.copies(found) == 1
    assert copies.copies({"nodes": found["nodes"]}) == 0
    assert copies.copies({"nodes": {"inside": ["two"], "outside": []}}) == 1


def test_the_loops_own_time_is_what_its_nodes_do_not_take() -> None:
    def event(name: str, op: str, start: float, length: float) -> dict[str, Any]:
        name = f"{name}_kernel_time"
        return {
            "cat": "Node",
            "name": name,
            "ts": start,
            "dur": length,
            "args": {"op_name": op},
        }

    events = [
        event("before", "Mul", 0, 5),
        event("Loop", "Loop", 10, 100),
        event("a", "Conv", 20, 30),
        event("branch", "If", 60, 20),
        event("inner", "Add", 65, 10),  # of the branch
        event("after", "Mul", 120, 5),
    ]
    assert memcpy.loop_time(events) == (100 / 1e6, 50 / 1e6)
    with pytest.raises(ValueError, match="no Loop"):
        memcpy.loop_time(events[:1])


def test_a_run_on_the_cpu(
    tiny_pipeline: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    unet, sampler = tmp_path / "unet.onnx", tmp_path / "unet.sampler.onnx"
    export(ExportRequest(unet, str(tiny_pipeline), check=False, weights="copy"))
    make_sampler(SamplerRequest(sampler, unet, "ddim", check=False))
    monkeypatch.setattr(worker, "STATES", (64,))
    worker.main(str(unet), str(sampler), "cpu", "1", "8")
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["nodes"] == {"outside": [], "inside": []}
    assert 0 < found["body"] < found["loop"]
    assert {p.name for p in tmp_path.iterdir()} == {
        "unet.onnx", "unet.safetensors", "unet.sampler.onnx",
    }  # fmt: skip
    text = copies.markdown(found, "here")
    assert "| copy nodes inside the loop | 0 |" in text
    assert "not measured: no GPU" in text
    with pytest.raises(SystemExit, match="no cuda here"):
        worker.main(str(unet), str(sampler), "cuda", "1", "8")
