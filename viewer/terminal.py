"""What every command of the viewer does at a terminal: lines, one-line errors, exit codes."""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn

from viewer.errors import ViewerError
from viewer.numbers import count

INTERRUPTED = 130


class Parser(argparse.ArgumentParser):
    """Says what is wrong with a command line in one line, not in the whole usage."""

    def __init__(self, prog: str, description: str, examples: str) -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def error(self, message: str) -> NoReturn:
        """Ends the process with code 2."""
        self.exit(2, f"error: {one_line(message)}; see {self.prog} -h\n")


@dataclass(frozen=True)
class Whole:
    """The ``type`` of an argument that is a whole number within bounds."""

    least: int
    most: int = sys.maxsize

    def __call__(self, text: str) -> int:
        """The number.

        Raises:
            ArgumentTypeError: It is none, or out of bounds.
        """
        value = count(text)
        if value is None or not self.least <= value <= self.most:
            most = f" to {self.most}" if self.most < sys.maxsize else ""
            raise argparse.ArgumentTypeError(
                f"{text}; expected a whole number from {self.least}{most}"
            )
        return value


def command(module: str) -> None:
    """Ends the process as ``module.main()`` says; what a ``__main__`` does.

    SIGTERM ends it as Ctrl-C does: tidily.

    Args:
        module: A command line's module, not imported yet.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(run(lambda: importlib.import_module(module).main()))


def run(work: Callable[[], int | None]) -> int:
    """Runs a command's work and tells how it failed in one line.

    Returns:
        The exit code: that of ``work`` (0 for None), of its ``ViewerError``, or 130 when
        interrupted. Any other error is a bug and passes through.
    """
    try:
        return work() or 0
    except ViewerError as error:
        print(f"error: {one_line(str(error))}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    except OSError as error:  # a path that the system refuses, wherever it was met
        said = f"error: {error.filename or 'the system'}: {error.strerror or error}"
        print(one_line(said), file=sys.stderr)  # noqa: T201
        return ViewerError.exit_code
    except KeyboardInterrupt:
        print("interrupted; nothing half-written was left", file=sys.stderr)  # noqa: T201
        return INTERRUPTED


@contextmanager
def working(what: str) -> Iterator[Callable[[str], None]]:
    """Shows that work goes on, and at which stage it is; silent where there is no terminal.

    Yields:
        What to call with the name of each stage.
    """
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status(Text(one_line(what))) as status:
        yield lambda stage: status.update(Text(one_line(f"{what}: {stage}")))


def say(text: str) -> None:
    """Writes a line to stdout at once."""
    print(one_line(text), flush=True)  # noqa: T201


def one_line(text: str) -> str:
    """Text of unknown origin as one line that cannot steer a terminal."""
    return "".join(c if c.isprintable() else "�" for c in " ".join(text.split()))
