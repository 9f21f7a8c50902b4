"""Losses as they are measured, one line each beside the table: what makes it resumable."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from exporter.disk import write_text
from exporter.errors import TargetError
from exporter.sample.importance.measure import Loss

Key = tuple[int, str]


class Ledger:
    """A JSON-lines file: what is measured, then one loss a line.

    Args:
        target: The table to be; the ledger is its hidden sibling until then.
        header: What decides every number; a ledger with another one is begun anew.

    Raises:
        TargetError: It cannot be written.
    """

    def __init__(self, target: Path, header: dict[str, Any]) -> None:
        self.path = target.with_name(f".{target.stem}.partial.jsonl")
        self.found: dict[Key, Loss] = {}
        first = json.dumps(header, sort_keys=True)
        lines = self._lines()
        if lines[:1] == [first]:
            for line in lines[1:]:
                self._take(line)
            self._rewrite(first)
        else:
            write_text(self.path, first + "\n")

    def add(self, prompt: int, part: str, loss: Loss) -> None:
        """Writes one down, for good."""
        self.found[prompt, part] = loss
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(_line((prompt, part), loss))
        except OSError as error:
            raise TargetError(f"{self.path}: {error.strerror}") from error

    def close(self) -> None:
        """Removes the file: the table is written."""
        self.path.unlink(missing_ok=True)

    def _lines(self) -> list[str]:
        try:
            return self.path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            return []

    def _take(self, line: str) -> None:
        try:
            prompt, part, loss = json.loads(line)
            words = {
                word: (inside, outside) for word, (inside, outside) in loss["words"].items()
            }
            found = Loss(float(loss["image"]), tuple(loss["prediction"]), words)
        except (ValueError, TypeError, KeyError, AttributeError):
            return  # cut off in the middle: measured again
        self.found[int(prompt), str(part)] = found

    def _rewrite(self, first: str) -> None:
        """Without a line that was cut off, which the next one would be glued to."""
        lines = (_line(key, loss) for key, loss in self.found.items())
        write_text(self.path, "".join([first + "\n", *lines]))


def _line(key: Key, loss: Loss) -> str:
    return json.dumps([*key, asdict(loss)]) + "\n"
