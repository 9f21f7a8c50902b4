"""A text-to-image file that is wrong in one place fails, and the place is named."""

from __future__ import annotations

from typing import Any

import pytest

from exporter.text_to_image.locate import locate
from exporter.text_to_image.proof import Case, prove
from tests.exporter.sampler import faults as loop_faults
from tests.exporter.text_to_image import faults

CASE = Case(2, height=8, width=8)


@pytest.mark.parametrize(
    ("fault", "kind", "part"),
    [
        (faults.unscaled_latents, "sd", "VAE decoder"),
        (faults.wrong_layer, "xl", "text encoder"),
        (faults.swapped_encoders, "xl", "text encoder"),
        (faults.swapped_prompts, "sd", "text encoder"),
        (faults.swapped_halves, "sd", "sampler"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_fault_fails_and_is_named(fault: Any, kind: str, part: str, picture: Any) -> None:
    path, plan = picture(kind)
    wrong = fault(path)
    assert not prove(wrong, plan, (CASE,)).passed
    found = locate(wrong, plan, CASE)
    assert found.part == part, found


@pytest.mark.parametrize(
    ("fault", "role", "how"),
    [
        (loop_faults.shifted_timestep, "loop_state", {}),
        (loop_faults.swapped_halves, "guidance", {}),
        (loop_faults.one_wrong_sigma, "scheduler_step", {}),
        (loop_faults.wrong_unet, "UNet", {}),
        (loop_faults.stale_state, "loop_state", {"sampler": "dpm++"}),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_fault_in_the_loop_is_named_as_in_a_sampler(
    fault: Any, role: str, how: dict[str, str], picture: Any
) -> None:
    path, plan = picture("sd", **how)
    wrong, case = fault(path), Case(4, height=8, width=8)
    assert not prove(wrong, plan, (case,)).passed
    found = locate(wrong, plan, case)
    assert found.part == "sampler", found
    assert found.inside is not None
    assert found.inside.role == role, found


def test_nothing_is_named_in_a_file_that_is_right(picture: Any) -> None:
    path, plan = picture("xl")
    assert str(locate(path, plan, CASE)) == "no part departs alone"
