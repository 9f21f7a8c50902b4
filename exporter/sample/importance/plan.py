"""What is switched off, for which prompts: decided and refused before any work."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from exporter.errors import TargetError, UsageError
from exporter.runtime.loading import load_graph
from exporter.sample.experiments.scaling import outer_blocks
from exporter.sample.experiments.wish import Wish
from exporter.sample.find import find_points
from exporter.sample.model import Model, read_model
from exporter.sample.pipeline import completed
from exporter.sample.plan import Plan, RecordRequest, make_plan
from exporter.sample.points import Points

MOST_PROMPTS = 1000
TITLE = "What each part of"
"""What every file of a table has in it: how one that may be replaced is known."""


@dataclass(frozen=True)
class ImportancePlan:
    """One table, everything decided.

    Attributes:
        request: How each image is made; the seed is the first prompt's, the next has the next.
        model: What runs.
        prompts: One image each.
        points: What the file has.
        wishes: What is switched off, one at a time.
    """

    request: RecordRequest
    model: Model
    prompts: tuple[str, ...]
    points: Points
    wishes: tuple[Wish, ...]

    def image(self, index: int) -> Plan:
        """The plan of one prompt's image."""
        seed = self.request.seed + index
        wanted = replace(self.request, prompt=self.prompts[index], seed=seed)
        return make_plan(wanted, self.model)

    def to_json(self) -> dict[str, Any]:
        """What decides every number: a table that was begun goes on only if it is equal."""
        request = self.request
        return {
            "model": self.model.name,
            "weights": dict(self.model.weights),
            "prompts": list(self.prompts),
            "parts": [str(wish) for wish in self.wishes],
            "scheduler": request.scheduler or "ddim",
            "steps": request.steps,
            "guidance": request.guidance,
            "seed": request.seed,
            "size": list(self.model.size(request.size)),
            "negative": request.negative,
        }


def plan_importance(request: RecordRequest, prompts: Path) -> ImportancePlan:
    """Reads the prompts and finds what can be switched off.

    Args:
        request: How each image is made; its target is the .json to write.
        prompts: A text file, one prompt a line; empty lines are passed over.

    Raises:
        UsageError: No prompts, no text encoder, or an experiment or previews besides.
        TargetError: A target that is no .json, or a file beside it that is someone else's.
        SourceError: A folder without what it should hold.
    """
    if request.wishes or request.compare or request.image or request.prompt:
        raise UsageError("--importance with a prompt, an image, --compare or an experiment")
    if request.target.suffix != ".json":
        raise TargetError(f"{request.target.name} as output", "a name that ends in .json")
    for file in written(request.target):
        _refuse_others(file)
    told = _read(prompts)
    model = read_model(request.model)
    request = replace(completed(request, model), vae=None)
    if not request.text_encoder:
        raise UsageError("prompts without --pipeline or --text-encoder", "who reads them")
    points = find_points(load_graph(model.path))
    plan = ImportancePlan(request, model, told, points, tuple(parts(points)))
    plan.image(0)  # refuses what cannot be
    return plan


def parts(points: Points) -> Iterator[Wish]:
    """Every skip, every attention and every block, switched off."""
    for skip in sorted(points.skips, key=lambda skip: int(skip.id or 0)):
        yield Wish("skip", skip.id)
    for residual in points.residuals:
        if residual.role in ("cross_attention", "self_attention"):
            yield Wish(residual.role.removesuffix("_attention"), residual.module)
    for module in outer_blocks(points):
        yield Wish("block", module)


def written(target: Path) -> tuple[Path, Path, Path]:
    """The files of a table, beside one another."""
    return target, target.with_suffix(".md"), target.with_suffix(".svg")


def _refuse_others(file: Path) -> None:
    """An earlier table may be replaced, and nothing else."""
    try:
        ours = not file.exists() or TITLE in file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise TargetError(f"{file}: {error.strerror}", do="choose another place") from error
    if not ours:
        raise TargetError(f"{file} is not a table of --importance", do="choose another place")


def _read(file: Path) -> tuple[str, ...]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read", "a text file, one prompt a line") from error
    told = tuple(line.strip() for line in lines if line.strip())
    if not 1 <= len(told) <= MOST_PROMPTS:
        raise UsageError(f"{len(told)} prompts in {file}", f"1 to {MOST_PROMPTS}")
    return told
