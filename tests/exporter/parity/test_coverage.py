"""What a set of cases cannot see is listed, and nothing that it sees."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from exporter.parity.cases import ParityCase, cases_of
from exporter.parity.coverage import unseen
from exporter.runtime.contract import Contract, read_contract
from exporter.types import Source

POOR = ParityCase(1, 16, 16, 7, 500.0)


@pytest.fixture(scope="session")
def contract(folded: Path) -> Contract:
    return read_contract(folded)


def test_the_exporters_own_cases_leave_only_what_is_larger(
    tiny_source: Source, contract: Contract
) -> None:
    assert unseen(tiny_source, contract, cases_of(tiny_source)) == (
        "batches above 3",
        "heights above 67",
        "widths above 64",
        "text longer than 154 tokens",
        "timesteps below 0 and above 996",
    )


def test_one_poor_case_leaves_much(tiny_source: Source, contract: Contract) -> None:
    assert unseen(tiny_source, contract, [POOR]) == (
        "whether each sample of a batch has its own inputs",
        "odd heights",
        "heights above 16",
        "odd widths",
        "widths above 16",
        "height and width exchanged",
        "text longer than 7 tokens",
        "timesteps below 500 and above 500",
        "fractions of a timestep",
        "a timestep for each sample",
        "time weaker than the noise of a whole output",
        "text weaker than the noise of a whole output",
    )


@pytest.mark.parametrize(
    ("changes", "seen"),
    [
        ({"batch": 2}, "whether each sample of a batch has its own inputs"),
        ({"height": 17}, "odd heights"),
        ({"width": 17}, "odd widths"),
        ({"width": 24}, "height and width exchanged"),
        ({"timestep": 500.5}, "fractions of a timestep"),
        ({"batch": 2, "per_sample": True}, "a timestep for each sample"),
        ({"batch": 2, "contrast": True}, "time weaker than the noise of a whole output"),
    ],
)
def test_a_case_sees_what_it_is_for(
    changes: dict[str, Any], seen: str, tiny_source: Source, contract: Contract
) -> None:
    assert seen in unseen(tiny_source, contract, [POOR])
    assert seen not in unseen(tiny_source, contract, [replace(POOR, **changes)])


def test_a_file_of_whole_timesteps_and_fixed_sizes_cannot_differ_in_them(
    tiny_source: Source, contract: Contract, foreign: Path
) -> None:
    assert "fractions of a timestep" not in unseen(tiny_source, read_contract(foreign), [POOR])
    shapes = dict.fromkeys(contract.shapes, (1, 4, 16, 16))
    fixed = unseen(tiny_source, replace(contract, shapes=shapes), [POOR])
    assert not [text for text in fixed if "heights" in text or "batch" in text]


def test_class_labels_are_counted(workshop: Any, contract: Contract) -> None:
    source = workshop.source("text-in-attn1")
    assert "9 of 10 class labels" in unseen(source, contract, [POOR])
    every = [POOR, *(replace(POOR, batch=3, height=8 * n) for n in range(1, 30))]
    assert not [text for text in unseen(source, contract, every) if "labels" in text]
