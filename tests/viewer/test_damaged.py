"""Damaged files, and what is no ONNX at all: shown as far as it goes, or refused in a line."""

from __future__ import annotations

from collections.abc import Callable

import onnx
import pytest
from google.protobuf import json_format, text_format

from tests.viewer.tiny import build
from viewer import cli, load
from viewer.errors import ModelError

OUTPUTS = {
    "--html": "o.html",
    "--model-explorer": "o.json",
    "--tensorboard": "runs",
    "--graphviz": "o.dot",
}


def types(number: int) -> Callable[[bytes], bytes]:
    """Every value and tensor of an element type."""

    def change(content: bytes) -> bytes:
        model = onnx.ModelProto.FromString(content)
        bodies = [model.graph, *model.functions]
        for info in (i for body in bodies for i in body.value_info):
            info.type.tensor_type.elem_type = number
        for node in (n for body in bodies for n in body.node):
            for attribute in (a for a in node.attribute if a.HasField("t")):
                attribute.t.data_type = number
        return model.SerializeToString()

    return change


SHOWN: dict[str, Callable[[bytes], bytes]] = {
    "names": lambda raw: raw.replace(b"conv_in", b"conv_\xff\xfe"),
    "metadata": lambda raw: raw.replace(b"atlas.model", b"atlas.mod\xff\xfe", 1),
    "values": lambda raw: raw.replace(b"skip_0", b"ski\xff_0"),
    "no element type": types(0),
}


@pytest.mark.parametrize("change", SHOWN)
def test_it_is_shown_as_far_as_it_goes(change, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    whole = build(tmp_path / "whole.onnx")
    content = whole.read_bytes()
    (tmp_path / "odd.onnx").write_bytes(SHOWN[change](content))
    assert (tmp_path / "odd.onnx").read_bytes() != content
    for option, target in OUTPUTS.items():
        assert cli.main(["odd.onnx", option, target]) == 0, capsys.readouterr().err
    assert cli.main(["odd.onnx", "whole.onnx", "--html", "two.html"]) == 0
    assert cli.main(["whole.onnx", "odd.onnx", "--html", "two.html"]) == 0


REFUSED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "textual protobuf": (
        lambda raw: text_format.MessageToString(onnx.ModelProto.FromString(raw)).encode(),
        "is text, such as JSON or textual protobuf",
    ),
    "JSON": (
        lambda raw: json_format.MessageToJson(onnx.ModelProto.FromString(raw)).encode(),
        "is text, such as JSON or textual protobuf",
    ),
    "cut short": (lambda raw: raw[:-100], "ends too early"),
    "cut in half": (lambda raw: raw[: len(raw) // 2], "ends too early"),
    "no protobuf": (lambda raw: b"\xff" * 64, "is not an ONNX file"),
    "an unknown type": (types(99), "is malformed (99 is not a valid DataType"),
}


@pytest.mark.parametrize("change", REFUSED)
def test_what_it_is_instead_is_said_in_one_line(change, tmp_path, capsys):
    path = build(tmp_path / "odd.onnx")
    make, said = REFUSED[change]
    path.write_bytes(make(path.read_bytes()))
    assert cli.main([str(path), "--html", str(tmp_path / "o.html")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert said in error, error
    with pytest.raises(ModelError):
        load(path)
