"""``unet-atlas COMMAND``: the commands of both packages under one name.

The exporter and the viewer do not know of each other, and this knows of both only their names.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version

COMMANDS: Mapping[str, tuple[str, str]] = {
    "export": ("exporter", "write a UNet as .onnx and prove it equal to PyTorch"),
    "parity": ("exporter.parity", "check any .onnx of a UNet against PyTorch"),
    "annotate": ("exporter.annotate", "mark the UNet in an .onnx by another exporter"),
    "profile": ("exporter.profile", "tell which modules and roles a step's time goes to"),
    "lora": ("exporter.lora", "turn a LoRA into inputs of a file exported with --lora"),
    "sample": ("exporter.sample", "run a denoising loop over a file and record it"),
    "view": ("viewer", "show a file, or compare two, in the browser"),
    "replay": ("viewer.replay", "show a recording"),
}
"""Module to run and what it does, by name."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command as ``python -m`` would; 2 if there is no such command."""
    name, *rest = list(sys.argv[1:] if argv is None else argv) or [""]
    if name in COMMANDS:
        module, _ = COMMANDS[name]
        sys.argv = [f"unet-atlas {name}", *rest]
        runpy.run_module(module, run_name="__main__", alter_sys=True)  # ends the process
        return 0
    if name == "--version":
        _print(version("unet-atlas"))
        return 0
    if name in ("-h", "--help"):
        _print(_help())
        return 0
    name = "".join(c if c.isprintable() else "\ufffd" for c in name)
    said = f"error: {name or 'no command'}; expected one of {', '.join(COMMANDS)}"
    print(said, file=sys.stderr)  # noqa: T201
    return 2


def _help() -> str:
    lines = [f"  {name:<8} {what}" for name, (_, what) in COMMANDS.items()]
    head = "usage: unet-atlas COMMAND ...\n\ncommands (COMMAND -h tells their options):\n"
    return head + "\n".join(lines)


def _print(text: str) -> None:
    print(text)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
