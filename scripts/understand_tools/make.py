"""Figures and numbers of docs/UNDERSTANDING.md: one image, and what each part did for it."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporter.pipeline import export
from exporter.sample.experiments import wish
from exporter.types import ExportRequest
from understand_tools.figures import over, strip
from understand_tools.many import END, Wished, chosen, gone, own, paint, words
from understand_tools.runs import SCENE, TURNED, Sampled, changed, sample

IMAGES = Path(__file__).parents[2] / "docs" / "images"
NUMBERS = "understanding.json"

LAYERS = ("down 0", "down 1", "mid", "up 1.0", "up 1.1", "up 2.0", "up 2.1")


def _cross(layer: str) -> wish.Wish:
    """Such as ``up 1.0``: the text's way into a transformer is cut."""
    kind, _, place = layer.partition(" ")
    block, _, index = place.partition(".")
    root = "mid_block" if kind == "mid" else f"{kind}_blocks.{block}"
    return wish.without(f"cross:{root}.attentions.{index or 0}")


CUTS = {
    "words": (
        ("no “red”", (wish.masked("red"),)),
        ("no “circle”", (wish.masked("circle"),)),
        ("no end", (wish.masked(END),)),
        ("no “red”, no end", (wish.masked("red"), wish.masked(END))),
        ("no “red circle”, no end", (*map(wish.masked, ("red", "circle", END)),)),
        ("no text at all", (wish.without("cross:all"),)),
    ),
    "when": tuple(
        (f"no text {told}", (wish.without(f"cross:all@{steps}"),))
        for told, steps in (
            ("at step 1", "1"),
            ("at 1 to 3", "1-3"),
            ("at 1 to 6", "1-6"),
            ("from 4 on", "4-"),
            ("from 7 on", "7-"),
            ("from 11 on", "11-"),
        )
    ),
    "layers": tuple((f"no text in {layer}", (_cross(layer),)) for layer in LAYERS),
    "skips": tuple((f"no skip {i}", (wish.without(f"skip:{i}"),)) for i in range(6)),
    "parts": (
        ("no time", (wish.without("time:all"),)),
        ("half the time", (wish.scaled("time:all=0.5"),)),
        ("no self-attention", (wish.without("self:all"),)),
        ("no mid block", (wish.without("block:mid_block"),)),
        ("no guidance", (wish.without("guidance:uncond"),)),
        ("only unconditional", (wish.without("guidance:cond"),)),
    ),
}
"""By figure: what is cut, and the experiments of ``exporter.sample`` that do it."""


def _layer(layer: str) -> Wished:
    return lambda _: (_cross(layer),)


SHAPE = "up_blocks.1.attentions.1"
GOING: dict[str, tuple[Wished, int]] = {
    **{f"no text in {layer}": (_layer(layer), 1) for layer in LAYERS},
    "its own words": (own, 1),
    "and what follows, in one head": (words(f"{SHAPE}#1"), 1),
    "and what follows, in head 1": (words("all#1"), 1),
    "and what follows": (words(), 1),
    "and what follows, from 11 on": (words(steps="11-"), 1),
    "of the first thing, in one head": (words(f"{SHAPE}#1", first=True), 0),
    "of the first thing": (words(first=True), 0),
}
"""What is cut over many captions, and which of the two things is to go."""

SHOWN = {
    "no text in up 1.1": "no text in up 1.1",
    "no “red”, no “circle”": "its own words",
    "nor later, in one head": "and what follows, in one head",
    "in head 1 of all": "and what follows, in head 1",
    "in all layers": "and what follows",
    "in all, from 11 on": "and what follows, from 11 on",
}
"""Those of which there is a picture, by what is written above."""

MANY = 36  # captions


def main(arguments: Sequence[str] | None = None) -> None:
    """Samples, draws, and writes the numbers."""
    parser = argparse.ArgumentParser(prog="scripts/understand", description=__doc__)
    parser.add_argument("--out", type=Path, default=IMAGES)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--captions", type=int, default=MANY, help="of the last figure")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        found = understand(Path(folder), options.out, options.steps, options.captions, _say)
    (options.out / NUMBERS).write_text(json.dumps(found, indent=2) + "\n")


def understand(
    folder: Path, out: Path, steps: int, many: int, report: Callable[[str], None]
) -> dict[str, Any]:
    """All figures; returns the numbers.

    Args:
        folder: For the .onnx and recordings, which nobody needs afterwards.
        out: Folder of the figures, ``understanding-*.png``.
        steps: Of the scheduler.
        many: How many captions a thing is to go from.
        report: Told each run.
    """
    model = folder / "shapes.onnx"
    export(ExportRequest(model, model="shapes", check=False))
    plain = sample(model, folder, steps=steps, maps=True)
    report(f"plain: {plain.seen}")
    shown = sorted({*np.linspace(0, steps - 1, 7).round().astype(int).tolist()})
    strip(
        [(f"step {index + 1}", plain.previews[index]) for index in shown],
        out / "understanding-steps.png",
    )
    _draw_words(plain, out / "understanding-maps.png")
    cut: dict[str, Any] = {}
    for name, experiments in CUTS.items():
        tiles: list[tuple[str, NDArray[Any]]] = [("as it is", plain.image)]
        for title, wishes in experiments:
            run = sample(model, folder, wishes, steps)
            asked = " ".join(map(str, wishes))
            report(f"{asked}: {run.seen}")
            tiles.append((title, run.image))
            red, blue, rest = changed(plain, run)
            moved = {"red circle": red, "blue square": blue, "elsewhere": rest}
            cut[asked] = {"seen": run.seen, "changed": moved}
        strip(tiles, out / f"understanding-{name}.png")
    going = _make_go(model, out, steps, many, report)
    seen = {"caption": SCENE.caption, "steps": steps, "plain": plain.seen, "cut": cut}
    return {**seen, "going": going}


def _make_go(
    model: Path, out: Path, steps: int, many: int, report: Callable[[str], None]
) -> dict[str, Any]:
    """One thing of two is to go: over many captions, and a picture of one."""
    scenes = chosen(model, many, steps)
    cuts: dict[str, Any] = {}
    for title, (wished, target) in GOING.items():
        left = gone(scenes, paint(model, scenes, wished, steps), target)
        report(f"{title}: {left}")
        cuts[title] = asdict(left)
    plain = sample(model, out, steps=steps, scene=TURNED)
    tiles: list[tuple[str, NDArray[Any]]] = [("as it is", plain.image)]
    for title, shown in SHOWN.items():
        run = sample(model, out, GOING[shown][0](TURNED), steps, scene=TURNED)
        report(f"{title}: {run.seen}")
        tiles.append((title, run.image))
    strip(tiles, out / "understanding-gone.png")
    return {"caption": TURNED.caption, "captions": len(scenes), "cuts": cuts}


def _draw_words(plain: Sampled, file: Path) -> None:
    tiles: list[tuple[str, NDArray[Any]]] = [("the image", plain.image)]
    for word in ("red", "circle", "left", "blue", "square", "white"):
        tiles.append((f"“{word}”", over(plain.image, plain.maps[word])))
    strip(tiles, file)


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
