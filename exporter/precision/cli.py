"""The precision search on the command line of ``python -m exporter``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from exporter.errors import UsageError
from exporter.targets import SEARCH_LOG, Target
from exporter.terminal import StageDisplay

if TYPE_CHECKING:
    from exporter.precision.recipe import Recipe

MAX_ERROR = {"fp16": 1e-3, "bf16": 1e-2}
"""Relative error that is allowed unless another is asked for."""

SHOWN = 10

EXCLUDED = (
    *("dtype", "keep_fp32", "all", "from_file"),
    *("lora", "fuse_lora", "controlnet", "ip_adapter"),
)
"""What a search decides itself, or does not measure."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """``--search-precision`` and what goes with it."""
    group = parser.add_argument_group("precision (docs/PRECISION.md)")
    group.add_argument(
        "--search-precision",
        choices=tuple(MAX_ERROR),
        help="find the fewest modules to keep in fp32 so that the error stays small, then "
        "export so: --dtype and --keep-fp32, found",
    )
    group.add_argument(
        "--max-error",
        type=float,
        metavar="X",
        help="relative error of the output that is allowed (default: 1e-3 for fp16, 1e-2 for "
        "bf16)",
    )
    group.add_argument(
        "--search-log",
        type=Target((SEARCH_LOG,)),
        metavar="FILE.json",
        help="what was measured, kept after each evaluation; an interrupted search goes on "
        "from there",
    )


def guard(arguments: argparse.Namespace) -> None:
    """Refuses what contradicts a search, before any work."""
    wanted = arguments.search_precision
    for option in ("max_error", "search_log"):
        if getattr(arguments, option) is not None and not wanted:
            raise UsageError(f"--{option.replace('_', '-')} without --search-precision")
    if not wanted:
        return
    for option in EXCLUDED:
        if getattr(arguments, option):
            named = "from" if option == "from_file" else option.replace("_", "-")
            raise UsageError(f"--search-precision with --{named}", "one of them")
    error = arguments.max_error
    if error is not None and not 0 < error < 1:
        raise UsageError(f"--max-error {error:g}", "a number between 0 and 1")


def choose(arguments: argparse.Namespace, console: Console) -> None:
    """Searches, shows the table, and sets ``--dtype`` and ``--keep-fp32``."""
    if not arguments.search_precision:
        return
    from exporter.precision.recipe import Log
    from exporter.precision.search import CASE, search
    from exporter.source import load_source

    dtype = arguments.search_precision
    limit = MAX_ERROR[dtype] if arguments.max_error is None else arguments.max_error
    with StageDisplay(console, quiet=arguments.quiet) as display:
        source = load_source(
            arguments.model,
            subfolder=arguments.subfolder,
            revision=arguments.revision,
            variant=arguments.variant,
            seed=arguments.seed,
            progress=display.progress,
        )
        log = Log.open(arguments.search_log, subject(source, dtype, CASE.name))
        recipe = search(source, dtype, limit, log=log, on_progress=display.progress)
    if not arguments.quiet:
        Console().print(table(recipe))
    Console().print(str(recipe), highlight=False)
    arguments.dtype, arguments.keep_fp32 = dtype, list(recipe.keep_fp32)


def subject(source: Any, dtype: str, case: str) -> dict[str, Any]:
    """What a log is of: another model, other weights or other versions measure otherwise."""
    from importlib.metadata import version

    from exporter.weights.store import digest

    weights = source.weights
    held = digest(weights.files) if weights.files else {"seed": weights.seed}
    packages = {name: version(name) for name in ("torch", "diffusers", "unet-atlas")}
    return {"config": source.config, "weights": held, "dtype": dtype, "case": case, **packages}


def table(recipe: Recipe) -> Table:
    """What each module alone costs, the costliest first."""
    made = Table(title=f"relative error of each module alone in {recipe.dtype}", box=None)
    made.add_column("module")
    made.add_column("error", justify="right")
    made.add_column("")
    order = sorted(recipe.table, key=lambda path: -recipe.table[path])
    shown = max(SHOWN, len(recipe.keep_fp32))
    for path in order[:shown]:
        kept = "fp32" if path in recipe.keep_fp32 else recipe.dtype
        made.add_row(path, f"{recipe.table[path]:.2g}", kept)
    if len(order) > shown:
        made.add_row(f"and {len(order) - shown} more", "", recipe.dtype)
    return made
