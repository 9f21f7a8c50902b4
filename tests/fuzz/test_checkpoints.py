"""Checkpoints that are not what they seem: configuration, header and index."""

from __future__ import annotations

import json
import struct

from hypothesis import given
from hypothesis import strategies as st

import exporter.cli
from tests.fuzz.harness import hold
from tests.fuzz.strategies import deep, mutated, spoiled, values

WEIGHTS = "diffusion_pytorch_model.safetensors"
LINE = ("new.onnx", "--model", "pipeline", "--no-check")


@given(st.data())
def test_any_configuration(fresh, data) -> None:
    folder = fresh("pipeline")
    path = folder / "pipeline" / "unet" / "config.json"
    config = json.loads(path.read_text())
    text = json.dumps(data.draw(st.one_of(*5 * [mutated(config)], values)))
    path.write_text(data.draw(st.sampled_from([*9 * [text], deep(100_000), text[:-9]])))
    hold(exporter.cli.main, LINE, folder)


@given(st.data())
def test_any_header(fresh, data) -> None:
    folder = fresh("pipeline")
    path = folder / "pipeline" / "unet" / WEIGHTS
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header, rest = content[8 : 8 + length], content[8 + length :]
    if data.draw(st.booleans()):
        made = json.dumps(data.draw(mutated(json.loads(header)))).encode()
    else:
        made = data.draw(st.sampled_from([deep(100_000).encode(), data.draw(spoiled(header))]))
    size = data.draw(st.sampled_from([*8 * [len(made)], 0, 2**40, 2**63 + 1]))
    path.write_bytes(struct.pack("<Q", size) + made + rest)
    weights = data.draw(st.sampled_from(["link", "copy"]))
    hold(exporter.cli.main, [*LINE, "--weights", weights], folder)


@given(st.data())
def test_any_index(fresh, data) -> None:
    folder = fresh("pipeline")
    unet = folder / "pipeline" / "unet"
    (unet / WEIGHTS).rename(unet / "part-1.safetensors")
    names = ["conv_in.weight", "conv_in.bias", "conv_out.bias"]
    index = {"metadata": {}, "weight_map": dict.fromkeys(names, "part-1.safetensors")}
    made = data.draw(st.one_of(mutated(index), values))
    text = data.draw(st.sampled_from([*9 * [json.dumps(made)], deep(100_000)]))
    (unet / f"{WEIGHTS}.index.json").write_text(text)
    hold(exporter.cli.main, LINE, folder)
