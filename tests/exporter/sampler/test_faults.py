"""A sampler that is wrong in one place fails, and the place is named."""

from __future__ import annotations

from typing import Any

import onnx
import pytest

from exporter.runtime.session import open_session
from exporter.sampler.locate import locate, probe
from exporter.sampler.proof import prove
from exporter.sampler.setup import Case, make_setup
from tests.exporter.sampler import faults

CASE = Case(4)


@pytest.mark.parametrize(
    ("fault", "sampler", "role"),
    [
        (faults.shifted_timestep, "euler", "loop_state"),
        (faults.shifted_timestep, "ddim", "loop_state"),
        (faults.swapped_halves, "ddim", "guidance"),
        (faults.swapped_conditions, "euler", "guidance"),
        (faults.stale_state, "dpm++", "loop_state"),
        (faults.wrong_sigma, "euler", "scheduler_step"),
        (faults.one_wrong_sigma, "euler", "scheduler_step"),
        (faults.wrong_unet, "ddim", "UNet"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_fault_fails_and_is_named(fault: Any, sampler: str, role: str, made: Any) -> None:
    path, plan = made(sampler)
    wrong = fault(path)
    proof = prove(wrong, plan, (CASE,))
    assert not proof.passed
    found = locate(wrong, plan, CASE)
    assert found.role == role, found
    assert found.step == (2 if fault is faults.one_wrong_sigma else found.step)


def test_a_scale_of_1_gives_the_unet_one_half(made: Any) -> None:
    path, plan = made("ddim")
    copy = probe(onnx.load(path, load_external_data=False)).SerializeToString()
    session = open_session(copy, "cpu", weights_folder=path.parent)
    for scale, rows in ((1.0, 3), (1.5, 6)):
        case = Case(1, batch=3, guidance=scale)
        seen = session.run(make_setup(plan, case).feeds)
        assert seen["probe.UNet.sample"].shape[:2] == (1, rows)
        assert str(locate(path, plan, case)) == "no part departs alone"


@pytest.mark.parametrize("sampler", ["ddim", "dpm++", "euler-a", "pndm", "unipc"])
def test_nothing_is_named_in_a_sampler_that_is_right(sampler: str, made: Any) -> None:
    path, plan = made(sampler)
    assert str(locate(path, plan, CASE)) == "no part departs alone"


def test_half_precision_is_proven_and_nothing_is_named(made: Any, unet_file: Any) -> None:
    path, plan = made("euler", unet_file=unet_file("micro", dtype="fp16"))
    assert plan.contract.dtype == "fp16"
    assert prove(path, plan, (CASE,)).passed
    assert str(locate(path, plan, CASE)) == "no part departs alone"


@pytest.mark.usefixtures("exact_roots")
@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "euler", "euler-a", "lcm"])
def test_every_part_is_the_same_to_the_bit_but_for_square_roots(
    sampler: str, made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DPM-Solver and UniPC take logarithms, and PNDM multiplies by 1/24: one bit, at times."""
    monkeypatch.setattr("exporter.sampler.locate.CLOSE", 0.0)
    path, plan = made(sampler)
    assert str(locate(path, plan, CASE)) == "no part departs alone"
