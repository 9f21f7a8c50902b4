"""The fewest modules in fp32 for an error: predicted, found, and no worse than all subsets."""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import exporter.precision.search as searching
from exporter.errors import ParityError, UsageError
from exporter.parity.ask import loaded
from exporter.parity.cases import ParityCase
from exporter.parity.subject import Subject
from exporter.precision.profile import profile
from exporter.precision.recipe import Log
from exporter.precision.search import predicted, search, shortest, thinned
from exporter.precision.units import units
from exporter.runtime.contract import read_contract
from exporter.source import load_source
from exporter.types import Source
from exporter.weights.unet import build_unet
from tests.exporter.conftest import ARCHITECTURES, Workshop

CASE = ParityCase(1, 8, 9, 5, 500.0)


class Sums:
    """Errors of independent roundings, and how often somebody asked for one."""

    def __init__(self, costs: Sequence[float]) -> None:
        self.table = {f"m{index}": cost for index, cost in enumerate(costs)}
        self.order = sorted(self.table, key=lambda path: -self.table[path])
        self.asked: set[tuple[str, ...]] = set()

    def __call__(self, kept: Sequence[str]) -> float:
        self.asked.add(tuple(sorted(kept)))
        return math.sqrt(sum(c**2 for path, c in self.table.items() if path not in kept))


@pytest.fixture(scope="module")
def source(workshop: Workshop) -> Source:
    return workshop.source("micro")


def test_units_hold_every_parameter_once(workshop: Workshop) -> None:
    for name in ("micro", "tiny-xl", "added-kv", "ddpm"):
        unet = build_unet(workshop.source(name))
        found = units(unet)
        held = [f"{path}.{n}" for path in found for n, _ in
                unet.get_submodule(path).named_parameters()]  # fmt: skip
        assert sorted(held) == sorted(name for name, _ in unet.named_parameters())


def test_a_right_prediction_takes_two_evaluations() -> None:
    sums = Sums([2.0**-i for i in range(64)])
    assert shortest(sums.order, sums.table, 0.01, sums) == 7
    assert len(sums.asked) == 2


def test_a_wrong_prediction_is_mended_within_twice_the_logarithm() -> None:
    generator = random.Random(0)
    for _ in range(200):
        costs = sorted((generator.random() ** 4 for _ in range(64)), reverse=True)
        sums = Sums(costs)
        said = {path: cost * generator.choice((0.7, 1.4)) for path, cost in sums.table.items()}
        limit = generator.uniform(0.02, 1.2) * sums([])
        sums.asked.clear()
        count = shortest(sums.order, said, limit, sums)
        assert len(sums.asked) <= 2 * math.log2(64)
        assert sums(sums.order[:count]) <= limit
        assert not count or sums(sums.order[: count - 1]) > limit


def test_what_cannot_be_met_is_refused() -> None:
    sums = Sums([0.5, 0.25])
    with pytest.raises(ParityError, match=r"not met with every module in fp32: 0\.1"):
        shortest(sums.order, sums.table, 0.01, lambda kept: max(sums(kept), 0.1))
    assert predicted([math.inf, 0.5], 0.6) == 1


def test_what_turns_out_not_to_be_needed_is_let_go_of() -> None:
    def evaluate(kept: Sequence[str]) -> float:
        return 0.0 if {"a", "c"} <= set(kept) else 1.0

    table = {"a": math.inf, "b": 0.3, "c": 0.2, "d": 0.1}
    assert thinned(["a", "b", "c"], table, 0.5, evaluate) == ["a", "c"]


def test_the_table_says_what_a_module_alone_costs(source: Source) -> None:
    found = units(build_unet(source))
    subject = Subject(source)
    with loaded(subject) as unet:
        table = profile(unet, subject.inputs(CASE), found, Subject(source, "fp16").torch_dtype)
    evaluate = searching._evaluator(source, "fp16", CASE)
    everything = evaluate(found)
    for path in sorted(found, key=lambda path: -table[path])[:2]:
        alone = math.sqrt(evaluate([p for p in found if p != path]) ** 2 - everything**2)
        assert 0.4 < table[path] / alone < 2.5


@pytest.fixture(scope="module")
def overflowing(tmp_path_factory: pytest.TempPathFactory, make_unet: Any) -> Source:
    """The first resnet of the second level leaves fp16's range, and comes back."""
    unet = make_unet(**ARCHITECTURES["micro"])
    resnet = unet.get_submodule("down_blocks.1.resnets.0")
    resnet.conv1.weight.mul_(2e5)
    resnet.time_emb_proj.weight.mul_(2e5)
    folder = tmp_path_factory.mktemp("overflowing")
    unet.save_pretrained(folder / "unet")
    return load_source(str(folder))


def test_a_planted_overflow_is_kept(overflowing: Source) -> None:
    recipe = search(overflowing, "fp16", 0.05, case=CASE)
    assert recipe.keep_fp32[0] == "down_blocks.1.resnets.0"
    assert recipe.table["down_blocks.1.resnets.0"] == math.inf
    assert sum(not math.isfinite(cost) for cost in recipe.table.values()) == 1
    assert recipe.error <= 0.05
    assert recipe.evaluations <= 2 * math.log2(len(recipe.table))


def test_it_is_within_one_module_of_the_best_of_all_subsets(source: Source) -> None:
    evaluate = searching._evaluator(source, "fp16", CASE)
    log = Log(None, {})
    none = evaluate(())
    recipe = search(source, "fp16", 0.93 * none, case=CASE, log=log)
    found = tuple(recipe.table)
    assert 2 <= len(recipe.keep_fp32) <= 3
    for size in range(len(recipe.keep_fp32) - 1):
        for kept in itertools.combinations(found, size):
            assert evaluate(kept) > recipe.limit, f"{kept} would do"


def test_an_interrupted_search_goes_on(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sums = Sums([2.0**-i for i in range(16)])
    monkeypatch.setattr(searching, "_profile", lambda *_: dict(sums.table))
    monkeypatch.setattr(searching, "_evaluator", lambda *_: sums)
    place, about = tmp_path / "log.json", {"model": "micro"}

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(source, "fp16", 0.01, log=Log.open(place, about), on_progress=interrupt)
    assert len(sums.asked) == 1
    monkeypatch.setattr(searching, "_profile", None)  # not measured again
    recipe = search(source, "fp16", 0.01, log=Log.open(place, about))
    assert (
        len(sums.asked) == recipe.evaluations == len(json.loads(place.read_text())["errors"])
    )
    again = search(source, "fp16", 0.01, log=Log.open(place, about))
    assert (again, len(sums.asked)) == (recipe, recipe.evaluations)
    with pytest.raises(UsageError, match="of another search"):
        Log.open(place, {"model": "tiny"})
    place.write_text("[]")
    with pytest.raises(UsageError, match="no log"):
        Log.open(place, about)


def test_the_command_exports_what_it_found(
    workshop: Workshop,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def found(*_: Any, **__: Any) -> Any:
        from exporter.precision.recipe import Recipe

        kept = ("mid_block.resnets.0",)
        return Recipe("fp16", 0.01, 0.005, kept, {kept[0]: 0.5, "conv_in": 0.1}, 2)

    monkeypatch.setattr(searching, "search", found)
    target = tmp_path / "unet.onnx"
    model = workshop.pipeline("micro")
    argv = (target, "--model", model, "--search-precision", "fp16", "--max-error", "0.01")
    assert workshop.main(*argv, "--no-check") == 0
    contract = read_contract(target)
    assert (contract.dtype, contract.keep_fp32) == ("fp16", ("mid_block.resnets.0",))
    said = " ".join(capsys.readouterr().out.split())
    assert "keeps mid_block.resnets.0 in fp32 (1 of 2 modules)" in said


@pytest.mark.parametrize(
    "argv",
    [
        ("--max-error", "0.1"),
        ("--search-log", "x.json"),
        ("--search-precision", "fp16", "--dtype", "fp16"),
        ("--search-precision", "fp16", "--keep-fp32", "conv_in"),
        ("--search-precision", "fp16", "--max-error", "0"),
        ("--search-precision", "fp16", "--search-log", "missing/x.json"),
    ],
)
def test_contradictions_are_refused(
    workshop: Workshop, tmp_path: Path, argv: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert workshop.main("unet.onnx", "--model", "tiny", *argv) == 2
    assert not list(tmp_path.iterdir())
