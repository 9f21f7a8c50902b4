"""The floor: what the module tree needs is what the simplified graph has of those kinds."""

from __future__ import annotations

import pytest

from bench_tools import floor, surplus
from exporter.source import load_source
from exporter.weights.unet import build_unet


@pytest.fixture(scope="module")
def tiny() -> floor.Floor:
    return floor.measure("tiny")


def test_no_operator_of_the_architecture_is_there_twice_or_missing(tiny):
    for kind in (*floor.ASKED, *floor.ALSO):
        assert tiny.found[kind] == tiny.needed[kind], kind


def test_every_node_is_counted_once(tiny):
    parts = sum(tiny.found.values()) + sum(tiny.rest.values())
    assert tiny.nodes == parts - tiny.rest["weight Transpose"]
    assert tiny.asked < tiny.equations < tiny.nodes


def test_counted_by_hand():
    """sd15: 22 resnets, 12 of them on the way up, 16 layers of one transformer block."""
    need = floor.needed(build_unet(load_source("sd15")))
    assert need["residual join"] == 22 + 16 * 3 + 16
    assert need["skip join"] == 12
    assert need["time injection"] == 22
    # two a resnet, one a GEGLU; the time embedding's own, the one shared by all, the last
    assert need["activation"] == 22 * 2 + 16 + 1 + 1 + 1
    assert need["norm"] == 22 * 2 + 16 + 16 * 3 + 1


def test_every_surplus_has_its_reason_and_the_table_adds_up(tiny):
    assert tiny.rest.keys() <= surplus.REASONS.keys()
    lines = surplus.markdown([tiny]).splitlines()
    numbers = {
        cells[1].strip(" *"): cells[2].strip()
        for cells in (line.split("|") for line in lines[2:])
    }
    parts = [int(value) for name, value in numbers.items() if value.startswith("+")]
    assert int(numbers["floor"]) + sum(parts) == int(numbers["graph"]) == tiny.nodes
    assert numbers["weight Transpose"] == f"({tiny.rest['weight Transpose']})"
