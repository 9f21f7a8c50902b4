"""No output of any command destroys an input, another output, or a file of another kind.

``pytest -s`` prints the table of every output of every command against every kind of input.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import combinations, product
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

import unet_atlas
from exporter import targets
from exporter.parts import parts_of_file, parts_of_folder
from exporter.targets import Target, guard
from exporter.terminal import Number

READ = {
    "exporter": {
        "pipeline", "from_file", "scheduler", "model", "all", "fuse_lora", "controlnet",
        "ip_adapter",
    },
    "exporter.parity": {"file", "model", "fuse_lora", "controlnet", "ip_adapter"},
    "exporter.annotate": {"file"},
    "exporter.profile": {"file"},
    "exporter.lora": {"lora", "unet"},
    "exporter.sample": {
        "model", "embeddings", "pipeline", "text_encoder", "vae", "scheduler", "importance",
    },
}  # fmt: skip
"""Arguments that are, or may be, a file or folder to read."""

WORDS = {
    "shard", "subfolder", "revision", "variant", "keep_fp32", "sampler", "case",
    "trajectory_case", "size", "input", "prompt", "negative_prompt", "wishes",
}  # fmt: skip
"""Arguments that take free text which is no path."""


@dataclass(frozen=True)
class Line:
    """A command line.

    Attributes:
        command: The module.
        arguments: ``{out}`` stands for the positional output.
        inputs: What it reads, by what to call it.
    """

    command: str
    arguments: Sequence[str]
    inputs: dict[str, str]

    @property
    def cli(self) -> Any:
        return import_module(f"{self.command}.cli")

    @property
    def outputs(self) -> list[argparse.Action]:
        return [a for a in parser_of(self.command)._actions if isinstance(a.type, Target)]

    def run(self, *more: str, out: str = "new.onnx") -> int:
        code: int = self.cli.main([*(a.replace("{out}", out) for a in self.arguments), *more])
        return code

    def aim(self, action: argparse.Action, target: Path) -> int:
        """Runs it with one of its outputs at a place."""
        if not action.option_strings:
            return self.run(out=str(target))
        return self.run(action.option_strings[0], str(target))


FOLDER = {
    "index": "pipeline/model_index.json",
    "config": "pipeline/unet/config.json",
    "checkpoint": "pipeline/unet/diffusion_pytorch_model-1.safetensors",
    "checkpoint's index": "pipeline/unet/diffusion_pytorch_model.safetensors.index.json",
    "scheduler's config": "pipeline/scheduler/scheduler_config.json",
    "tokenizer": "pipeline/tokenizer/merges.txt",
}
FILE = {
    "model": "unet.onnx",
    "external data": "unet.data",
    "linked data": "linked.data",
    "data in a function": "inner.data",
}
MODEL = ["--model", "a/pipeline"]
LINES = {
    "exporter": Line("exporter", ["{out}", *MODEL], FOLDER),
    "exporter FILE": Line(
        "exporter",
        ["{out}", "--model", "a/one.safetensors"],
        {"checkpoint": "one.safetensors"},
    ),
    "exporter --all": Line("exporter", ["{out}", "--all", "a"], FOLDER),
    "exporter --sampler": Line(
        "exporter",
        ["{out}", "--model", "tiny", "--sampler", "ddim", "--scheduler", "a/pipeline"],
        FOLDER,
    ),
    "exporter --from": Line(
        "exporter",
        ["{out}", "--from", "a/unet.onnx", "--sampler", "ddim", "--scheduler", "a/pipeline"],
        {**FILE, "scheduler's config": FOLDER["scheduler's config"]},
    ),
    "exporter.parity": Line(
        "exporter.parity",
        ["a/unet.onnx", *MODEL, "--trajectory", "2", "--fuse-lora", "a/lora.safetensors=1"],
        {**FILE, **FOLDER, "LoRA": "lora.safetensors"},
    ),
    "exporter --fuse-lora": Line(
        "exporter",
        ["{out}", "--fuse-lora", "a/lora.safetensors=0.5"],
        {"LoRA": "lora.safetensors"},
    ),
    "exporter.lora": Line(
        "exporter.lora",
        ["a/lora.safetensors", "a/lora.safetensors=0.5", "a/unet.onnx"],
        {"LoRA": "lora.safetensors", **FILE},
    ),
    "exporter.annotate": Line("exporter.annotate", ["a/unet.onnx", "{out}"], FILE),
    "exporter.profile": Line("exporter.profile", ["a/unet.onnx"], FILE),
    "exporter.sample": Line(
        "exporter.sample",
        [
            "a/unet.onnx",
            "{out}",
            "--pipeline",
            "a/pipeline",
            "--embeddings",
            "a/e.safetensors",
        ],
        {**FILE, **FOLDER, "embeddings": "e.safetensors"},
    ),
    "exporter --controlnet": Line(
        "exporter", ["{out}", "--model", "tiny", "--controlnet", "a/pipeline"], FOLDER
    ),
    "exporter --ip-adapter": Line(
        "exporter",
        ["{out}", "--ip-adapter", "a/lora.safetensors"],
        {"LoRA": "lora.safetensors"},
    ),
    "exporter --pipeline": Line("exporter", ["{out}", "--pipeline", "a/pipeline"], FOLDER),
    "exporter.sample --importance": Line(
        "exporter.sample",
        ["a/unet.onnx", "{out}", "--importance", "a/prompts.txt"],
        {**FILE, "prompts": "prompts.txt"},
    ),
    "exporter.sample --vae": Line(
        "exporter.sample",
        ["a/unet.onnx", "{out}", "--vae", "a/pipeline", "--scheduler", "a/pipeline"],
        FOLDER,
    ),
    "exporter.sample --text-encoder": Line(
        "exporter.sample", ["a/unet.onnx", "{out}", "--text-encoder", "a/pipeline"], FOLDER
    ),
}
WAYS: dict[str, Callable[[Path, Path], object]] = {
    "itself": lambda target, file: None,
    "symlink": lambda target, file: target.symlink_to(file.resolve()),
    "hard link": lambda target, file: target.hardlink_to(file.resolve()),
    "symlink to its folder": lambda target, file: (
        target.parent.rmdir() or target.parent.symlink_to(file.parent.resolve())
    ),
}
HEADS = {
    targets.ONNX: b"\x08\x0a\x12\x0aunet-atlas",
    targets.RECORDING: b'\x00' * 8 + b'{"__metadata__":{"atlas.recording.format":"1"',
    targets.ADAPTER: b"\x00" * 8 + b'{"__metadata__":{"format":"pt","atlas.lora":"[]"',
    targets.ORT_ADAPTER: b"\x00" * 4 + b"TORT",
    targets.EXPORT_REPORT: b'{\n  "target": "unet.onnx"',
    targets.PARITY_REPORT: b'{\n  "schema": 1,\n  "file": "unet.onnx"',
    targets.PROFILE: b'{\n  "format": 1,\n  "file": "unet.onnx"',
    targets.IMPORTANCE: b'{\n "format": 1,\n "kind": "importance",',
    targets.COMMANDS: b"::error file=unet.onnx::",
    targets.SEARCH_LOG: b'{"subject": "tiny"',
    targets.JUNIT: b"<?xml version='1.0'?>\n<testsuites>",
    targets.MARKDOWN: b"## Parity of `unet.onnx`",
    targets.SVG: b'<svg xmlns="http://www.w3.org/2000/svg">',
    targets.PNG: b"\x89PNG\r\n\x1a\n",
}  # fmt: skip


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder ``a`` with every kind of input, in which one stands."""
    folder = tmp_path / "a"
    for name in FOLDER.values():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"_class_name": "UNet2DConditionModel"}))
    for name in ("unet.data", "inner.data", "elsewhere.bin", "prompts.txt"):
        (folder / name).write_bytes(bytes(4))
    (folder / "linked.data").symlink_to(folder / "elsewhere.bin")
    for name in ("one.safetensors", "e.safetensors", "lora.safetensors"):
        (folder / name).write_bytes((2).to_bytes(8, "little") + b"{}")
    (folder / "unet.onnx").write_bytes(model().SerializeToString())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def model() -> onnx.ModelProto:
    def outside(name: str, location: str) -> TensorProto:
        tensor = helper.make_tensor(name, TensorProto.FLOAT, [1], bytes(4), raw=True)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)
        return tensor

    info = helper.make_tensor_value_info
    inner = helper.make_node("Constant", [], ["y"], value=outside("w", "inner.data"))
    function = helper.make_function("f", "F", [], ["y"], [inner], [])
    graph = helper.make_graph(
        [helper.make_node("F", [], ["z"], domain="f")],
        "g",
        [info(name, TensorProto.FLOAT, [1]) for name in ("sample", "timestep")],
        [info("z", TensorProto.FLOAT, [1])],
        [outside("x", "unet.data"), outside("l", "linked.data")],
    )
    return helper.make_model(graph, functions=[function])


def parser_of(command: str) -> argparse.ArgumentParser:
    cli: Any = import_module(f"{command}.cli")
    made: argparse.ArgumentParser = (getattr(cli, "command_line", None) or cli._parser)()
    return made


def contents(folder: Path) -> dict[str, bytes]:
    return {str(f): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def test_no_command_and_no_option_is_forgotten():
    commands = {m for m, _ in unet_atlas.COMMANDS.values() if m.startswith("exporter")}
    assert commands == set(READ) == {line.command for line in LINES.values()}
    for command, read in READ.items():
        for action in parser_of(command)._actions:
            number = action.type in (int, float) or isinstance(action.type, Number)
            free = action.nargs != 0 and not action.choices and not number
            known = isinstance(action.type, Target) or action.dest in read | WORDS
            assert known or not free, f"{command} {action.dest}: an input, or a Target?"


def test_every_input_of_the_lines_exists(place):
    for line in LINES.values():
        assert all((place / "a" / file).exists() for file in line.inputs.values())
    assert {str(f.relative_to("a")) for _, f in parts_of_folder("a/pipeline")} == set(
        FOLDER.values()
    )
    assert {f.name for _, f in parts_of_file(Path("a/unet.onnx"))} == set(FILE.values())


@pytest.mark.parametrize("name", LINES)
def test_an_output_is_never_an_input(name, place, capfd):
    line, table = LINES[name], []
    for action, (what, file) in product(line.outputs, line.inputs.items()):
        option = next(iter(action.option_strings), action.metavar)
        refused = []
        for way, link in WAYS.items():
            target = aimed_at(line, action, place / "a" / file, link)
            if target is None:
                continue
            before = contents(place / "a")
            assert line.aim(action, target) == 2, (option, what, way)
            error = capfd.readouterr().err
            assert error.count("\n") == 1, error
            assert "would overwrite" in error or f"{target} is a file" in error
            assert contents(place / "a") == before
            refused.append(way)
            shutil.rmtree(place / "b", ignore_errors=True)
            (place / "b").unlink(missing_ok=True)
        table.append(f"{name:<31} {option:<16} {what:<19} refused: {', '.join(refused)}")
    print("\n".join(["", *table]))  # noqa: T201


def aimed_at(
    line: Line, action: argparse.Action, file: Path, link: Callable[[Path, Path], object]
) -> Path | None:
    """The argument that makes an output go over a file."""
    if link is WAYS["itself"]:
        return Path(os.path.relpath(file))
    in_folder = "--all" in line.arguments and not action.option_strings
    by_folder = link is WAYS["symlink to its folder"]
    if in_folder and by_folder:
        return None
    written = Path(
        "b/pipeline.onnx" if in_folder else f"b/x{action.type.kinds[0].suffixes[0]}"
    )
    written = written.with_name(file.name) if by_folder else written
    if (
        by_folder
        and written.suffix != action.type.kinds[0].suffixes[0]
        and line.command == ("exporter.sample")
    ):
        return None  # refused for its name already
    written.parent.mkdir()
    link(written, file)
    return written.parent if in_folder else written


@pytest.mark.parametrize("name", LINES)
def test_two_outputs_are_two_places(name, place, capfd):
    line = LINES[name]
    for one, other in combinations(line.outputs, 2):
        suffix = one.type.kinds[0].suffixes[0]
        first, second = f"x{suffix}", f"a/../X{suffix}"
        if "--all" in line.arguments:
            first, second = "x", "x/pipeline.onnx"
        given = [*one.option_strings[:1], first] if one.option_strings else []
        assert line.run(*given, other.option_strings[0], second, out=first) == 2
        assert "are one file" in capfd.readouterr().err
    assert [entry.name for entry in place.iterdir()] == ["a"]


@pytest.mark.parametrize("beside", ["x.safetensors", "x.ort.onnx", "x.sampler.onnx"])
def test_what_lies_beside_an_export_is_taken(beside, place, capfd):
    assert LINES["exporter"].run("--report", beside, out="x.onnx") == 2
    assert "are one file" in capfd.readouterr().err


@pytest.mark.parametrize("name", LINES)
def test_a_file_of_another_kind_stays(name, place, capfd):
    line = LINES[name]
    for action in line.outputs:
        kind = action.type.kinds[0]
        in_folder = "--all" in line.arguments and not action.option_strings
        strangers = [(kind.suffixes[0], b"my thesis")]
        strangers += [
            (kind.suffixes[0], head) for k, head in HEADS.items() if k not in action.type.kinds
        ]
        if not in_folder:
            strangers.append((".doc", HEADS[kind]))
        for suffix, content in strangers:
            written = place / "b" / f"pipeline{suffix}"
            written.parent.mkdir()
            written.write_bytes(content)
            assert line.aim(action, written.parent if in_folder else written) == 2
            assert "is another kind of file" in capfd.readouterr().err
            assert written.read_bytes() == content
            shutil.rmtree(place / "b")


@pytest.mark.parametrize("kind", HEADS, ids=lambda kind: kind.name)
def test_a_file_of_the_same_kind_may_be_replaced(kind, tmp_path):
    file = tmp_path / f"x{kind.suffixes[0]}"
    parser = argparse.ArgumentParser()
    parser.add_argument("--to", type=Target((kind,)))
    for content in (b"", HEADS[kind]):
        file.write_bytes(content)
        guard(parser, parser.parse_args(["--to", str(file)]), [])


def test_a_sampler_is_not_put_over_another_model_after_the_export(place, capfd):
    shutil.copy("a/unet.onnx", "new.sampler.onnx")
    assert LINES["exporter --sampler"].run() == 2
    assert "which is none" in capfd.readouterr().err
    assert sorted(entry.name for entry in place.iterdir()) == ["a", "new.sampler.onnx"]
