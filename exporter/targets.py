"""Where a command line may write: never over what it reads, nor a file of another kind."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from exporter.errors import TargetError

_HEAD = 4096

Inputs = Iterable[tuple[str, Path]]
"""What is read: what to call it, and where it lies."""


@dataclass(frozen=True)
class Kind:
    """A kind of file that a command writes.

    Attributes:
        name: What to call it.
        suffixes: What such a file's name ends in.
        head: What its first 4096 bytes match.
    """

    name: str
    suffixes: tuple[str, ...]
    head: re.Pattern[bytes]

    def holds(self, path: Path) -> bool:
        """Whether an existing file is of this kind by suffix and content, or is empty."""
        if not path.name.lower().endswith(self.suffixes):
            return False
        with path.open("rb") as file:
            head = file.read(_HEAD)
        return not head or self.head.match(head) is not None


# A ModelProto begins with its ir_version (field 1), and goes on with another small field.
ONNX = Kind(
    "an ONNX model", (".onnx",), re.compile(rb"\x08[\x01-\x7f][\x12\x1a\x22\x28\x32:Br]")
)
RECORDING = Kind(
    "a recording",
    (".safetensors",),
    re.compile(rb'.{8}\{"__metadata__":\{"atlas\.recording\.', re.DOTALL),
)
ADAPTER = Kind(
    "an adapter",
    (".safetensors",),
    re.compile(rb'.{8}\{"__metadata__":\{.*"atlas\.lora":', re.DOTALL),
)
ORT_ADAPTER = Kind("an adapter", (".onnx_adapter",), re.compile(rb".{4}TORT", re.DOTALL))
EXPORT_REPORT = Kind(
    "an export's report",
    (".json",),
    re.compile(rb'\[\s*\]|\s*\[?\s*\{\s*"(target|checkpoint)":'),
)
PARITY_REPORT = Kind(
    "a parity report", (".json",), re.compile(rb'\s*\{\s*"schema": \d+,\s*"file":')
)
PROFILE = Kind("a profile", (".json",), re.compile(rb'\s*\{\s*"format": \d+,\s*"file":'))
IMPORTANCE = Kind(
    "a table of --importance",
    (".json",),
    re.compile(rb'\s*\{\s*"format": [^,]*,\s*"kind": "importance"'),
)
JUNIT = Kind("a JUnit report", (".xml",), re.compile(rb"\s*(<\?xml[^>]*>\s*)?<testsuites\b"))
MARKDOWN = Kind("a parity summary", (".md",), re.compile(rb"## Parity of `"))
COMMANDS = Kind("workflow commands", (".txt",), re.compile(rb"::(error|notice) "))
SEARCH_LOG = Kind("a precision search's log", (".json",), re.compile(rb'\s*\{\s*"subject":'))
SVG = Kind("an SVG", (".svg",), re.compile(rb"(?=\s*<).*?<svg\b", re.DOTALL))
PNG = Kind("a PNG", (".png",), re.compile(rb"\x89PNG\r\n"))
KINDS = (
    ONNX, RECORDING, ADAPTER, ORT_ADAPTER, EXPORT_REPORT, PARITY_REPORT, PROFILE, IMPORTANCE,
    JUNIT, MARKDOWN, COMMANDS, SEARCH_LOG, SVG, PNG,
)  # fmt: skip


@dataclass(frozen=True)
class Target:
    """The ``type`` of an argument that names what is written.

    Attributes:
        kinds: What is written there, one of them.
        inside: For an argument that may name a folder: the files that will be written in it,
            given the folder and all arguments; None where it names a file.
        beside: Suffixes of what may be written beside it, which is no other output's place.
    """

    kinds: tuple[Kind, ...]
    inside: Callable[[Path, argparse.Namespace], list[Path] | None] = lambda *_: None
    beside: tuple[str, ...] = ()

    def __call__(self, text: str) -> Path:
        """The place, from the text of an argument."""
        return Path(text)


@dataclass(frozen=True)
class _Named:
    """One target of a command line."""

    name: str
    place: Path
    target: Target
    files: tuple[Path, ...]
    in_folder: bool

    def __str__(self) -> str:
        return f"{self.name} {self.place}"

    @property
    def taken(self) -> Iterator[Path]:
        for file in self.files:
            yield file
            yield from (file.with_suffix(s) for s in self.target.beside if file.name)


def guard(
    parser: argparse.ArgumentParser, arguments: argparse.Namespace, inputs: Inputs
) -> None:
    """Refuses a command line that would destroy what is not its own; before any work.

    Args:
        parser: Every argument that names what is written has a ``Target`` as its type.
        arguments: As parsed.
        inputs: Whatever is read.

    Raises:
        TargetError: An output is an input or another output, by whatever name, or an existing
            file that is not of its kind, or lies in no folder.
    """
    read = list(inputs)
    named = list(_targets(parser, arguments))
    for one in named:
        for file in one.files:
            for what, path in read:
                if same(file, path):
                    raise TargetError(
                        f"{one} would overwrite {what} ({path})", do="choose another place"
                    )
    for one, other in combinations(named, 2):
        if any(same(file, taken) for file in one.taken for taken in other.taken):
            raise TargetError(f"{one} and {other} are one file", "two places")
    for one in named:
        for file in one.files:
            _check(one, file)


def same(one: Path, other: Path) -> bool:
    """Whether two names are of one file, whatever links, case or folders they go by."""
    try:
        return one.samefile(other)
    except (OSError, ValueError):  # one of them is not there yet
        return _spelled(one) == _spelled(other)


def _targets(
    parser: argparse.ArgumentParser, arguments: argparse.Namespace
) -> Iterator[_Named]:
    for action in parser._actions:
        place = getattr(arguments, action.dest, None)
        if not isinstance(action.type, Target) or place is None:
            continue
        name = next(iter(action.option_strings), str(action.metavar))
        inside = action.type.inside(place, arguments)
        files = (place,) if inside is None else tuple(inside)
        yield _Named(name, place, action.type, files, inside is not None)


def _spelled(path: Path) -> str:
    return os.path.realpath(path).casefold()


def _check(one: _Named, file: Path) -> None:
    """That a file may be made there, or replaced."""
    if one.in_folder and one.place.exists() and not one.place.is_dir():
        raise TargetError(f"{one} is a file", "a folder", "choose another place")
    if file.is_dir():
        raise TargetError(f"{one} is a folder", "a file", "choose another place")
    if not one.in_folder and not file.absolute().parent.is_dir():
        raise TargetError(f"{one}: there is no folder {file.parent}", "a folder that exists")
    if not os.path.lexists(file):
        return
    kinds = one.target.kinds
    try:
        known = file.is_file() and any(kind.holds(file) for kind in kinds)
    except OSError as error:
        raise TargetError(f"{one}: {file} cannot be read ({error.strerror})") from error
    if not known:
        raise TargetError(
            f"{one}: {file} exists and is another kind of file",
            " or ".join(f"{kind.name} ({', '.join(kind.suffixes)})" for kind in kinds),
            "remove it, or choose another place",
        )
