"""No output of either command destroys an input, another output, or a file of another kind.

``pytest -s`` prints the table of every output option against every kind of input.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
from collections.abc import Callable
from itertools import combinations, product
from pathlib import Path
from types import ModuleType

import pytest

from tests.viewer import recorded
from tests.viewer.tiny import build
from viewer import cli, load
from viewer.errors import TargetError
from viewer.replay import cli as replay
from viewer.targets import Target, guard

READ = {
    "model",
    "other",
    "report",
    "profile",
    "importance",
    "recording",
    "pipeline",
    "against",
}
COMMANDS = {
    "viewer": (
        cli,
["a/unet.onnx", "a/other.onnx", "--report", "a/r.json",
         "--recording", "a/run.safetensors"],
        ["a/unet.onnx"],
    ),
    "viewer.replay": (
        replay,
        ["a/run.safetensors", "--model", "a/unet.onnx", "--against", "a/second.safetensors"],
        ["a/run.safetensors"],
    ),
}  # fmt: skip
INPUTS = {
    "viewer": {
        "model": "unet.onnx",
        "second model": "other.onnx",
        "external data": "unet.data",
        "second model's": "other.data",
        "refused link": "linked.data",
        "report": "r.json",
        "recording": "run.safetensors",
    },
    "viewer.replay": {
        "recording": "run.safetensors",
        "other recording": "second.safetensors",
        "model": "unet.onnx",
        "external data": "unet.data",
        "refused link": "linked.data",
    },
}
WAYS: dict[str, Callable[[Path, Path], object]] = {
    "itself": lambda target, file: None,
    "symlink": lambda target, file: target.symlink_to(file.resolve()),
    "hard link": lambda target, file: target.hardlink_to(file.resolve()),
    "symlink to its folder": lambda target, file: (
        target.parent.rmdir() or target.parent.symlink_to(file.parent.resolve())
    ),
}


def outputs(command: ModuleType) -> list[argparse.Action]:
    return [a for a in command.command_line()._actions if isinstance(a.type, Target)]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder ``a`` with every kind of input, in which one is."""
    folder = tmp_path / "a"
    folder.mkdir()
    for name in ("unet", "other"):
        build(folder / f"{name}.onnx")
    for name in ("run", "second"):
        recorded.write(folder / f"{name}.safetensors", model={"file": "unet.onnx"})
    (folder / "r.json").write_text('{"blocks": {}}')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(f): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def test_every_option_that_takes_a_path_is_an_input_or_a_target():
    for command, _, _ in COMMANDS.values():
        for action in command.command_line()._actions:
            takes_a_path = action.type is Path or action.metavar in ("FILE", "DIR", "FOLDER")
            if takes_a_path and action.dest not in READ:
                assert isinstance(action.type, Target), action.option_strings
        assert len(outputs(command)) >= 3


def test_the_inputs_are_those_of_the_command_lines(place):
    for name, (command, arguments, _) in COMMANDS.items():
        options = command.command_line().parse_args(arguments)
        given = {path.name for path in vars(options).values() if isinstance(path, Path)}
        assert given <= set(INPUTS[name].values())


@pytest.mark.parametrize("name", COMMANDS)
def test_an_output_is_never_an_input(name, place, capsys):
    command, arguments, _ = COMMANDS[name]
    spoil(place / "a/unet.onnx")
    table = []
    for action, (what, file) in product(outputs(command), INPUTS[name].items()):
        option, refused = action.option_strings[0], []
        for way, link in WAYS.items():
            target = aimed_at(action.type, place / "b", place / "a" / file, link)
            if target is None:
                continue
            before = contents(place / "a")
            assert command.main([*arguments, option, str(target)]) == 2, (option, what, way)
            error = capsys.readouterr().err
            assert error.count("\n") == 1
            assert error.startswith(f"error: {option} ")
            assert re.search("would overwrite|is a file|is another kind", error)
            assert contents(place / "a") == before
            refused.append(way)
            shutil.rmtree(place / "b", ignore_errors=True)
        table.append(f"{name:<14} {option:<17} {what:<15} refused: {', '.join(refused)}")
    print("\n".join(["", *table]))  # noqa: T201


def test_weights_are_guarded_even_if_they_look_like_a_page(place):
    spoil(place / "a/unet.onnx")
    parser, parts = cli.command_line(), load("a/unet.onnx").file.parts
    assert {path.name for _, path in parts} == {"unet.onnx", "unet.data", "linked.data"}
    for _, path in parts:
        (place / "page.html").hardlink_to(path)
        options = parser.parse_args(["a/unet.onnx", "--html", "page.html"])
        with pytest.raises(TargetError, match=r"--html page\.html would overwrite"):
            guard(parser, options, parts)
        (place / "page.html").unlink()


def spoil(model: Path) -> None:
    """Lets a model name one more file of weights, through a symbolic link that is refused."""
    import onnx

    proto = onnx.load(model, load_external_data=False)
    tensor = proto.graph.initializer.add(name="x", data_type=1, dims=[1], data_location=1)
    tensor.external_data.add(key="location", value="linked.data")
    model.write_bytes(proto.SerializeToString())
    target = model.parent / "elsewhere.bin"
    target.write_bytes(b"1234")
    (model.parent / "linked.data").symlink_to(target)


def aimed_at(
    kind: Target, folder: Path, file: Path, link: Callable[[Path, Path], object]
) -> Path | None:
    """The argument that makes an option of a kind write over a file."""
    if link is WAYS["itself"]:
        return Path(os.path.relpath(file))
    by_folder = link is WAYS["symlink to its folder"]
    if kind.pattern and by_folder:
        return None
    written = folder / (kind.pattern.replace("*", "x") if kind.pattern else "there/x")
    written = written.with_name(file.name) if by_folder else written
    written.parent.mkdir(parents=True)
    link(written, file)
    return folder if kind.pattern else written


@pytest.mark.parametrize("name", COMMANDS)
def test_two_outputs_are_two_places(name, place, capsys):
    command, arguments, _ = COMMANDS[name]
    for one, other in combinations(outputs(command), 2):
        both = [one.option_strings[0], "x.svg", other.option_strings[0], "a/../X.svg"]
        assert command.main([*arguments, *both]) == 2
        assert "are one place" in capsys.readouterr().err
    assert [entry.name for entry in place.iterdir()] == ["a"]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_file_of_another_kind_stays(name, place, capsys):
    command, _, alone = COMMANDS[name]
    for action in outputs(command):
        option, kind = action.option_strings[0], action.type
        for suffix, content in (
            (kind.kinds[0].suffixes[0], b"my thesis"),
            (".txt", b"\x89PNG\r\n"),
        ):
            written = place / "b" / (kind.pattern.replace("*", "x") or f"x{suffix}")
            if kind.pattern and suffix == ".txt":
                continue
            written.parent.mkdir(parents=True)
            written.write_bytes(content)
            target = place / "b" if kind.pattern else written
            assert command.main([*alone, option, str(target)]) == 2, option
            assert "another kind of file" in capsys.readouterr().err
            assert written.read_bytes() == content
            shutil.rmtree(place / "b")


def test_what_was_written_may_be_written_again(place, chromium):
    arguments = {
        "--html": "u.html", "--png": "u.png", "--svg": "u.svg", "--graphviz": "g.dot",
        "--tensorboard": "runs", "--model-explorer": "u.json",
    }  # fmt: skip
    assert {a.option_strings[0] for a in outputs(cli)} == set(arguments)
    line = ["a/unet.onnx", *(text for pair in arguments.items() for text in pair)]
    assert cli.main(line) == 0
    assert cli.main(line) == 0
    both = [
        "a/run.safetensors",
        "--html",
        "r.html",
        "--png",
        "figures",
        "--tensorboard",
        "runs",
    ]
    assert replay.main(both) == 0
    assert replay.main(both) == 0
