"""Arguments and table of ``python -m exporter.profile``; it alone prints."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.parts import parts_of_file
from exporter.targets import PROFILE, Target, guard
from exporter.terminal import Number, Parser, StageDisplay, run

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from exporter.profile.report import ProfileReport

EPILOG = """\
examples:
  python -m exporter.profile unet.onnx
      one step of one latent of 32x32, by role and by block
  python -m exporter.profile unet.onnx --case B2H64W64S77 --runs 5 --report time.json
      another size, and every kernel with its modules as JSON (docs/PROFILE.md)
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Profiles one file and returns the exit code."""
    arguments = _parser().parse_args(argv)
    return run(lambda console: _run(arguments, console), debug=arguments.debug)


def _run(arguments: argparse.Namespace, console: Console) -> int:
    guard(_parser(), arguments, parts_of_file(arguments.file))
    with StageDisplay(console, quiet=arguments.quiet) as display:
        display.start("profile")
        from rich.console import Console as Output

        from exporter.disk import write_text
        from exporter.parity.cases import ParityCase
        from exporter.profile.report import profile
        from exporter.runtime.providers import choose

        case = ParityCase.parse(arguments.case)
        sizes = {"B": case.batch, "H": case.height, "W": case.width, "S": case.tokens, "T": 1}
        provider = choose(arguments.provider)[0]
        report = profile(arguments.file, sizes, provider, arguments.runs)
        display.finish("profile")
    if arguments.report:
        write_text(arguments.report, json.dumps(report.to_json(), indent=2) + "\n")
    Output().print(_table(report, arguments.depth), highlight=False)
    return 0


def _table(report: ProfileReport, depth: int) -> Table:
    from rich.table import Table

    table = Table(
        title=f"{report.file}: {report.total / 1e3:.1f} ms in kernels of "
        f"{report.wall / 1e3:.1f} ms a run on {report.provider}; "
        f"{report.attributed:.1%} has a module"
    )
    for heading in ("role or module", "ms", "share"):
        table.add_column(heading, justify="left" if heading[0] == "r" else "right")
    for role, time in report.roles.items():
        table.add_row(role, f"{time / 1e3:.2f}", f"{time / report.total:.1%}")
    table.add_section()
    for path, time in report.inclusive.items():
        if path and path.count(".") < depth:
            table.add_row(path, f"{time / 1e3:.2f}", f"{time / report.total:.1%}")
    return table


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m exporter.profile",
        description="Runs a file that python -m exporter wrote under ONNX Runtime's profiler "
        "and tells which modules and roles its time goes to.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, metavar="FILE.onnx")
    parser.add_argument(
        "--case", default="B1H32W32S77", help="sizes to run on (default: B1H32W32S77)"
    )
    parser.add_argument(
        "--runs", type=Number(int, 1), default=3, help="runs to average (default: 3)"
    )
    parser.add_argument("--provider", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument(
        "--depth",
        type=Number(int, 1),
        default=2,
        help="levels of modules in the table (default: 2)",
    )
    parser.add_argument(
        "--report", type=Target((PROFILE,)), metavar="FILE", help="write a JSON report"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    return parser
