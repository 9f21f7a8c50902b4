"""A text-to-image file that is wrong in one place fails, and the place is named."""

from __future__ import annotations

from typing import Any

import pytest

from exporter.text_to_image.locate import locate
from exporter.text_to_image.proof import Case, prove
from tests.exporter.text_to_image import faults

CASE = Case(2, height=8, width=8)


@pytest.mark.parametrize(
    ("fault", "kind", "part"),
    [
        (faults.unscaled_latents, "sd", "VAE decoder"),
        (faults.wrong_layer, "xl", "text encoder"),
        (faults.swapped_encoders, "xl", "text encoder"),
        (faults.swapped_prompts, "sd2", "text encoder"),
        (faults.swapped_encoders, "xl16", "text encoder"),
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


def test_nothing_is_named_in_a_file_that_is_right(picture: Any) -> None:
    path, plan = picture("xl")
    assert str(locate(path, plan, CASE)) == "no part departs alone"
