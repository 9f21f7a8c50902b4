"""Where a command line may write: never over an input, nor over a file of another kind."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from viewer.errors import TargetError

RUN = "events.out.tfevents.0.unet-atlas"
"""Name of an event file of ours, or what it begins with: a run is replaced, not added to."""

_HEAD = 4096


@dataclass(frozen=True)
class Kind:
    """A kind of file.

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
        with path.open("rb") as file:
            head = file.read(_HEAD)
        named = path.name.lower().endswith(self.suffixes)
        return named and (not head or self.head.match(head) is not None)


HTML = Kind("a page", (".html", ".htm"), re.compile(rb"\s*<!doctype html", re.IGNORECASE))
PNG = Kind("a PNG", (".png",), re.compile(rb"\x89PNG\r\n"))
SVG = Kind("an SVG", (".svg",), re.compile(rb"(?=\s*<).*?<svg\b", re.DOTALL))
PDF = Kind("a PDF", (".pdf",), re.compile(rb"%PDF-"))
DOT = Kind(
    "a DOT source", (".dot", ".gv"), re.compile(rb"(\s*//.*)*\s*(strict )?(di)?graph\b")
)
GRAPHS = Kind("a graph collection", (".json",), re.compile(rb'\s*\{.*"graphs":', re.DOTALL))
CONTRAST = Kind("a comparison", (".json",), re.compile(rb'\s*\{.*"recordings":', re.DOTALL))
ARRAYS = Kind("arrays of numpy", (".npz",), re.compile(rb"PK"))
EVENTS = Kind(
    "an event file", (RUN, f"{RUN}-recording"), re.compile(rb".{12,64}brain\.Event", re.S)
)


@dataclass(frozen=True)
class Target:
    """The ``type`` of an option that names what is written.

    Attributes:
        kinds: What is written there.
        pattern: For a folder, the files in it that may be replaced.
        spare: Suffix of what is written instead when the file cannot be made.
    """

    kinds: tuple[Kind, ...]
    pattern: str = ""
    spare: str = ""

    def __call__(self, text: str) -> Path:
        """The place, from the text of an argument."""
        return Path(text)

    def files(self, place: Path) -> list[Path]:
        """What may be written, or of a folder what may be replaced; the folder itself too."""
        if self.pattern:
            return [place, *sorted(place.glob(self.pattern))]
        return [place, *([place.with_suffix(self.spare)] if self.spare and place.name else [])]


def guard(
    parser: argparse.ArgumentParser,
    options: argparse.Namespace,
    inputs: Iterable[tuple[str, Path | None]],
) -> None:
    """Refuses a command line that would destroy what is not its own; before any work.

    Args:
        parser: Every option that writes has a ``Target`` as its type.
        options: Parsed arguments.
        inputs: Whatever is read, with what to call it.

    Raises:
        TargetError: An output is an input or another output, by whatever name, or an existing
            file that is not of its kind.
    """
    read = [(what, path) for what, path in inputs if path is not None]
    named = list(_targets(parser, options))
    for option, target, place in named:
        for file in target.files(place):
            for what, path in read:
                if _same(file, path):
                    raise TargetError(
                        f"{option} {place} would overwrite {what} ({path})",
                        do="choose another place",
                    )
            if target.pattern and file == place:
                _check_folder(option, place)
            else:
                _check_kind(option, file, target.kinds)
    for (one, a, x), (other, b, y) in combinations(named, 2):
        if any(_same(f, g) for f in a.files(x) for g in b.files(y)):
            raise TargetError(f"{one} {x} and {other} {y} are one place", do="choose two")


def _targets(
    parser: argparse.ArgumentParser, options: argparse.Namespace
) -> Iterator[tuple[str, Target, Path]]:
    for action in parser._actions:
        place = getattr(options, action.dest, None)
        if isinstance(action.type, Target) and place is not None:
            yield action.option_strings[0], action.type, place


def _same(one: Path, other: Path) -> bool:
    """Whether two names are of one file, whatever links, case or folders they go by."""
    try:
        return one.samefile(other)
    except (OSError, ValueError):  # one of them is not there yet
        return _spelled(one) == _spelled(other)


def _spelled(path: Path) -> str:
    return os.path.realpath(path).casefold()


def _check_folder(option: str, place: Path) -> None:
    if place.exists() and not place.is_dir():
        raise TargetError(f"{option} {place} is a file", "a folder", "choose another place")


def _check_kind(option: str, file: Path, kinds: Sequence[Kind]) -> None:
    if file.is_dir():
        raise TargetError(f"{option} {file} is a folder", "a file", "choose another place")
    if not os.path.lexists(file):
        return
    try:
        known = file.is_file() and any(kind.holds(file) for kind in kinds)
    except OSError as error:
        raise TargetError(f"{option} {file} cannot be read ({error.strerror})") from error
    if not known:
        names = " or ".join(f"{kind.name} ({', '.join(kind.suffixes)})" for kind in kinds)
        raise TargetError(
            f"{option} {file} exists and is another kind of file",
            names,
            "remove it, or choose another place",
        )
