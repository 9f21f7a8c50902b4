"""docs/MODELS.md: every configuration of diffusers' own tests, proven or refused by name."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import diffusers

from models_tools.row import Row, row

CONFIGURATIONS = Path(__file__).with_name("configurations.json")
PAGE = Path(__file__).parents[2] / "docs" / "MODELS.md"

HEAD = """\
# Models

What becomes of the UNet configurations that diffusers' own tests build, and of single settings
(`setting: ...`, one changed in a UNet of two levels). `scripts/models` makes each with random
weights, exports it, has it proven on the CPU against diffusers {version}, and writes this
page. Of {all} that were measured, {proven} are proven, {refused} are refused, {failed} failed.

*Proven* says how far the worst of three cases was from float64, in PyTorch's own distance.
*Roles* are counted in the file: attentions by kind, time injections, skips. *Map* is what the
viewer draws: blocks on the way down, in the middle, on the way up; of a ControlNet its zero
convolutions by level. *Takes* is what can be given besides latents and time:
`--controlnet-inputs` and `--adapter-inputs` (residuals) and `--ip-adapter` included
([CONDITIONS.md](CONDITIONS.md)).

## Proven

| where | class | proven | roles | map | takes |
|---|---|---|---|---|---|
"""

REST = """
## {title}

| where | class | why |
|---|---|---|
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Measures what is not yet known, then writes the page."""
    parser = argparse.ArgumentParser(prog="scripts/models", description=__doc__)
    parser.add_argument("--keep", type=Path, help="JSON of rows: go on from there")
    parser.add_argument(
        "--known", action="store_true", help="write what is in --keep, no more"
    )
    arguments = parser.parse_args(argv)
    warnings.simplefilter("ignore")
    diffusers.utils.logging.set_verbosity_error()
    rows = _kept(arguments.keep)
    wanted = json.loads(CONFIGURATIONS.read_text())
    for one in () if arguments.known else wanted:
        if one["name"] not in rows:
            with tempfile.TemporaryDirectory() as folder:
                place = Path(folder) / "model"
                made = row(one["name"], one["class"], one["config"], place)
            rows[made.name] = made
            sys.stderr.write(f"{made.name}: {made.verdict}, {made.told}\n")
            if arguments.keep:
                kept = [asdict(known) for known in rows.values()]
                arguments.keep.write_text(json.dumps(kept, indent=1))
    missing = [one["name"] for one in wanted if one["name"] not in rows]
    PAGE.write_text(page(list(rows.values()), missing))


def page(rows: Sequence[Row], missing: Sequence[str] = ()) -> str:
    """The whole page; what was not measured is named."""
    counts = Counter(one.verdict for one in rows)
    text = HEAD.format(
        version=diffusers.__version__,
        all=len(rows),
        **{verdict: counts[verdict] for verdict in ("proven", "refused", "failed")},
    )
    for one in rows:
        if one.verdict == "proven":
            text += _line(
                one.name, f"`{one.class_name}`", one.told, one.roles, one.map, one.conditions
            )
    for verdict, title in (("refused", "Refused"), ("failed", "Failed")):
        if counts[verdict]:
            text += REST.format(title=title)
            text += "".join(
                _line(one.name, f"`{one.class_name}`", one.told)
                for one in rows
                if one.verdict == verdict
            )
    if missing:
        text += f"\n## Not measured yet\n\n{', '.join(missing)}\n"
    return text


def _line(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") or "-" for cell in cells) + " |\n"


def _kept(path: Path | None) -> dict[str, Row]:
    if path is None or not path.exists():
        return {}
    return {one["name"]: Row(**one) for one in json.loads(path.read_text())}


if __name__ == "__main__":
    main()
