"""Recordings and reports that are not what they seem."""

from __future__ import annotations

import json
import struct

from hypothesis import given
from hypothesis import strategies as st

import viewer.cli
import viewer.replay.cli
from tests.fuzz.harness import hold
from tests.fuzz.strategies import deep, mutated, spoiled, values

PREFIX = "atlas.recording."
REPORT = {
    "file": "unet.onnx",
    "passed": False,
    "cases": [{"name": "B1H8W8S7", "passed": False, "floors": 9.0, "max_abs": 0.1}],
    "location": {"module": "mid_block", "operators": [{"name": "Add", "error": 1.0}]},
    "tolerance": {"atol": 1e-4, "rtol": 1e-4},
}


def _recording(draw, content: bytes) -> bytes:
    length = int.from_bytes(content[:8], "little")
    header, rest = json.loads(content[8 : 8 + length]), content[8 + length :]
    if draw(st.integers(0, 3)) == 0:
        return draw(spoiled(content[: 8 + length])) + rest
    if draw(st.booleans()):
        header = draw(mutated(header))
    else:
        said = header["__metadata__"]
        name = draw(st.sampled_from(sorted(said)))
        plain = json.loads(said[name]) if name.startswith(PREFIX) else said[name]
        made = json.dumps(draw(st.one_of(mutated(plain), values)))
        said[name] = draw(st.sampled_from([*9 * [made], deep(100_000), made[:-1]]))
    made = json.dumps(header).encode()
    return struct.pack("<Q", len(made)) + made + rest


@given(st.data())
def test_any_recording(fresh, data) -> None:
    folder = fresh("run", "unet")
    path = folder / "run.safetensors"
    path.write_bytes(_recording(data.draw, path.read_bytes()))
    how = data.draw(st.sampled_from([("--html", "new.html"), ()]))
    model = data.draw(st.sampled_from([(), ("--model", "unet.onnx")]))
    line = ["run.safetensors", *how, *model]
    hold(viewer.replay.cli.main, line, folder, [folder / name for name in how[1:]])


@given(st.data())
def test_a_recording_beside_a_model(fresh, data) -> None:
    folder = fresh("run", "unet")
    path = folder / "run.safetensors"
    path.write_bytes(_recording(data.draw, path.read_bytes()))
    line = ["unet.onnx", "--recording", "run.safetensors", "--html", "new.html"]
    hold(viewer.cli.main, line, folder, [folder / "new.html"])


@given(st.data())
def test_any_report(fresh, data) -> None:
    folder = fresh("unet")
    made = json.dumps(data.draw(st.one_of(mutated(REPORT), values)))
    text = data.draw(st.sampled_from([*9 * [made], deep(100_000), made[:-1]]))
    (folder / "unet.report.json").write_text(text)
    hold(viewer.cli.main, ["unet.onnx", "--html", "new.html"], folder, [folder / "new.html"])
