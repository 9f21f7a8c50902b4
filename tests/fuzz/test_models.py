""".onnx files that are not what they seem, for every command that takes one."""

from __future__ import annotations

from typing import Any

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import exporter.parity.cli
import exporter.sample.cli
import viewer.cli
from tests.fuzz.harness import hold
from tests.fuzz.strategies import deep, scalars, spoiled, words

PARITY, SAMPLE = exporter.parity.cli.main, exporter.sample.cli.main
COMMANDS = {
    "parity": (
        PARITY,
        ["bad.onnx", "--model", "pipeline", "--quiet"],
        "unet",
    ),
    "own": (PARITY, ["bad.onnx", "--quiet"], "unet"),
    "sample": (
        SAMPLE,
        ["bad.onnx", "new.safetensors", "--steps", "2"],
        "unet",
    ),
    "sweep": (
        SAMPLE,
        ["bad.onnx", "new.safetensors", "--sweep", "4"],
        "unet",
    ),
    "page": (viewer.cli.main, ["bad.onnx", "--html", "new.html"], "unet"),
    "explorer": (viewer.cli.main, ["bad.onnx", "--model-explorer", "new.json"], "unet"),
    "tensorboard": (viewer.cli.main, ["bad.onnx", "--tensorboard", "new"], "unet"),
    "two": (viewer.cli.main, ["bad.onnx", "unet.onnx", "--html", "new.html"], "unet"),
}


def _messages(message: Any) -> list[tuple[Any, Any]]:
    """Every set field below a message, with the message that has it."""
    found = []
    for field, value in message.ListFields():
        found.append((message, field))
        if field.message_type is not None:
            inner = value if field.is_repeated else [value]
            for one in list(inner)[:40]:
                found += _messages(one)
    return found


def _change(draw: Any, message: Any, field: Any) -> None:
    """Another value of the field's type, or none, or one more, or one less."""
    kinds = {field.TYPE_STRING: words, field.TYPE_BYTES: st.binary(max_size=9)}
    if field.message_type is not None:
        if field.is_repeated and len(getattr(message, field.name)) and draw(st.booleans()):
            entries = getattr(message, field.name)
            entries.append(entries[draw(st.integers(0, len(entries) - 1))])
        else:
            message.ClearField(field.name)
        return
    made = draw(kinds.get(field.type, st.sampled_from([0, 1, -1, 3, 11, 2**31 - 1, 2**62])))
    if isinstance(made, str):
        made = made.encode("utf-8", "replace").decode()
    try:
        if field.is_repeated:
            getattr(message, field.name).append(made)
        else:
            setattr(message, field.name, made)
    except (ValueError, TypeError):
        message.ClearField(field.name)


@st.composite
def models(draw: st.DrawFn, content: bytes) -> bytes:
    if draw(st.integers(0, 4)) == 0:
        return draw(spoiled(content))
    model = onnx.ModelProto.FromString(content)
    for entry in model.metadata_props:
        if draw(st.integers(0, 15)) == 0:
            made = str(draw(st.one_of(scalars, st.just(deep(50_000)))))
            entry.value = made.encode("utf-8", "replace").decode()
    places = _messages(model)
    for _ in range(draw(st.integers(0, 4))):
        _change(draw, *draw(st.sampled_from(places)))
    return model.SerializeToString()


@pytest.mark.parametrize("name", COMMANDS)
def test_any_model(name, fresh) -> None:
    main, line, stem = COMMANDS[name]

    @given(st.data())
    def holds(data: Any) -> None:
        folder = fresh("unet", "pipeline")
        content = (folder / f"{stem}.onnx").read_bytes()
        (folder / "bad.onnx").write_bytes(data.draw(models(content)))
        new = [folder / word for word in line if word.startswith("new")]
        hold(main, line, folder, new)

    holds()
