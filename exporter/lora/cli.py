"""Arguments of ``python -m exporter.lora``; it alone prints."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.parts import parts_of_file, parts_of_loras
from exporter.targets import ADAPTER, ORT_ADAPTER, Target, guard
from exporter.terminal import Parser, in_bytes, run

if TYPE_CHECKING:
    from rich.console import Console

EPILOG = """\
examples:
  python -m exporter.lora style.safetensors unet.onnx
      checks a LoRA and writes style.unet.safetensors, whose tensors are inputs of the graph
  python -m exporter.lora a.safetensors=0.7 b.safetensors=0.4 unet.onnx -o both.onnx_adapter
      blends two, in ONNX Runtime's own adapter format

unet.onnx was exported with --lora. Nothing in it changes (docs/CONDITIONS.md).
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Writes one adapter and returns the exit code."""
    arguments = _parser().parse_args(argv)
    return run(lambda console: _run(arguments, console), debug=arguments.debug)


def _run(arguments: argparse.Namespace, _: Console) -> int:
    from rich.console import Console as Output

    from exporter.lora.adapter import make_adapter, write_adapter
    from exporter.runtime.contract import read_contract
    from exporter.weights.lora import strength_of

    wishes = [strength_of(text) for text in arguments.lora]
    first = wishes[0][0]
    arguments.output = arguments.output or first.with_name(
        f"{first.stem}.{arguments.unet.stem}.safetensors"
    )
    inputs = [*parts_of_loras(arguments.lora), *parts_of_file(arguments.unet)]
    guard(_parser(), arguments, inputs)
    contract = read_contract(arguments.unet)
    target = arguments.output
    adapter = make_adapter(contract, wishes)
    write_adapter(adapter, target, contract)
    low, high = adapter.ranks
    ranks = f"rank {low}" if low == high else f"ranks {low} to {high}"
    text = f"; {adapter.text} tensors of text encoders left out" if adapter.text else ""
    Output().print(
        f"{target}: {len(adapter.tensors) // 2} layers of {ranks}, "
        f"{in_bytes(target.stat().st_size)}{text}",
        highlight=False,
        soft_wrap=True,
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m exporter.lora",
        description="Turns LoRAs of peft, diffusers or kohya into inputs of a file that was "
        "exported with --lora, after checking that they fit.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "lora", nargs="+", metavar="LORA[=SCALE]", help="a LoRA in .safetensors; several blend"
    )
    parser.add_argument("unet", type=Path, metavar="UNET.onnx", help="exported with --lora")
    parser.add_argument(
        "-o",
        "--output",
        type=Target((ADAPTER, ORT_ADAPTER)),
        metavar="FILE",
        help="name in .safetensors or .onnx_adapter (default: LORA.UNET.safetensors beside "
        "the first LoRA)",
    )
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    return parser
