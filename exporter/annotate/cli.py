"""Arguments and table of ``python -m exporter.annotate``; it alone prints."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.parts import parts_of_file
from exporter.targets import EXPORT_REPORT, ONNX, Target, guard
from exporter.terminal import Parser, StageDisplay, run

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from exporter.annotate.make import AnnotateReport

EPILOG = """\
examples:
  python -m exporter.annotate unet/model.onnx unet/annotated.onnx
      a UNet by Optimum, torch.onnx or others: the same graph, computing the same bits, with
      its roles, skips and modules marked; then: python -m viewer unet/annotated.onnx
  python -m exporter.annotate mine.onnx out.onnx --input noisy=sample --input sigma=timestep
      inputs whose names and use do not tell what they are

External weights are linked, not copied: the new file lies beside or above them.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Annotates one file and returns the exit code."""
    arguments = _parser().parse_args(argv)
    return run(lambda console: _run(arguments, console), debug=arguments.debug)


def _run(arguments: argparse.Namespace, console: Console) -> int:
    guard(_parser(), arguments, parts_of_file(arguments.file))
    with StageDisplay(console, quiet=arguments.quiet) as display:
        display.start("imports")
        from exporter.annotate.make import AnnotateRequest, annotate_file

        display.finish("imports")
        request = AnnotateRequest(
            arguments.file, arguments.output, _inputs(arguments.input), arguments.flat,
            arguments.check, arguments.provider,
        )  # fmt: skip
        report = annotate_file(request, display.progress)
    from rich.console import Console as Output

    from exporter.disk import write_text

    if arguments.report:
        write_text(arguments.report, json.dumps(report.to_json(), indent=2) + "\n")
    Output().print(_table(report), highlight=False)
    return 0


def _inputs(wishes: Sequence[str]) -> dict[str, str]:
    from exporter.errors import UsageError

    found = {}
    for text in wishes:
        own, sign, name = text.rpartition("=")
        if not (own and sign and name):
            raise UsageError(f"--input {text}", "such as noisy=sample")
        found[own] = name
    return found


def _table(report: AnnotateReport) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(report.target.name))
    table.add_column()
    table.add_column()
    flat, top = report.nodes
    table.add_row(
        "nodes", f"{flat:,} flat -> {top:,} at top level, {report.functions:,} functions"
    )
    roles = report.roles
    table.add_row(
        "roles",
        f"{roles.cross_attention} cross-attentions, {roles.self_attention} self-attentions, "
        f"{roles.time_injection} time injections, {roles.skip} skips, "
        f"{roles.downsample} down, {roles.upsample} up",
    )
    named = (name if name == own else f"{own} = {name}" for name, own in report.inputs.items())
    table.add_row("inputs", escape(", ".join(named)))
    same = {"bits": "the same bits", "operators": "the same operators on the same operands"}
    table.add_row("computes", same.get(report.same, "not compared"))
    for remark in report.remarks:
        table.add_row("unknown", escape(remark))
    return table


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m exporter.annotate",
        description="Annotate any UNet's .onnx: roles, levels, skips and modules.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, metavar="FOREIGN.onnx")
    parser.add_argument("output", type=Target((ONNX,)), metavar="OUT.onnx")
    parser.add_argument(
        "--input",
        action="append",
        default=[],
        metavar="NAME=sample",
        help="which input is sample, timestep, encoder_hidden_states, ...; repeatable",
    )
    parser.add_argument("--flat", action="store_true", help="do not fold modules")
    parser.add_argument(
        "--no-check", dest="check", action="store_false", help="do not compare the bits"
    )
    parser.add_argument("--provider", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--report", type=Target((EXPORT_REPORT,)), metavar="FILE.json")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    return parser
