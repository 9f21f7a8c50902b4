"""``python -m exporter.sample.standby``: the imports done, waiting to be told what to sample.

For a program that answers people: importing PyTorch takes longer than a small UNet's image. It
says ``{"stage": "ready"}``, reads the arguments of ``exporter.sample`` as one line of JSON, a
list of strings, and does as that command does. It ends when its input does.
"""

from __future__ import annotations

import importlib
import json
import sys

from exporter.terminal import command

LISTENED = 1 << 20
"""Longest line that is read."""

_NEEDED = ("exporter.sample.record", "exporter.sample.sweep", "onnxruntime")
_WANTED = (
    ("diffusers", ("AutoencoderKL", "DDIMScheduler")),
    ("transformers", ("CLIPTextModel", "CLIPTokenizer")),
)


def main() -> int:
    """Imports, waits for one line, and returns the exit code of the run."""
    for name in _NEEDED:
        importlib.import_module(name)
    for name, parts in _WANTED:
        module = importlib.import_module(name)
        for part in parts:
            getattr(module, part)  # imported when it is first asked for
    print(json.dumps({"stage": "ready"}), flush=True)  # noqa: T201
    line = sys.stdin.readline(LISTENED)
    if not line:
        return 0
    from exporter.sample import cli

    return cli.main([str(argument) for argument in json.loads(line)])


if __name__ == "__main__":
    command("exporter.sample.standby")
