import itertools

import pytest

from exporter.errors import UsageError
from exporter.inputs import HINTS
from exporter.parity.cases import ParityCase, cases_of, fit, matrix


@pytest.mark.parametrize(
    ("text", "case"),
    [
        ("B2H96W64S77", ParityCase(2, 96, 64, 77, 500.0)),
        ("b1h33w35", ParityCase(1, 33, 35, 77, 500.0)),
        ("B1H8W8S1T261.5", ParityCase(1, 8, 8, 1, 261.5)),
        ("B3H8W8S1TB10", ParityCase(3, 8, 8, 1, 10.0, per_sample=True)),
        ("B3H8W8S1TB8D", ParityCase(3, 8, 8, 1, 8.0, per_sample=True, contrast=True)),
    ],
)
def test_a_case_is_read_from_its_name(text, case):
    assert ParityCase.parse(text) == case
    assert ParityCase.parse(case.name) == case


@pytest.mark.parametrize("text", ["", "B2", "2x4x8x8", "B0H8W8", "B1H8W8S0", "B1H8W8T-1"])
def test_other_texts_are_refused(text):
    with pytest.raises(UsageError, match="case"):
        ParityCase.parse(text)


def test_a_case_has_one_timestep_or_one_for_each_sample():
    assert ParityCase(3, 8, 8, 1, 600.0).timesteps == (600.0,)
    assert ParityCase(3, 8, 8, 1, 600.0, per_sample=True).timesteps == pytest.approx(
        (600, 500, 400)
    )


def test_smoke_takes_batches_odd_sizes_and_text_lengths():
    cases = matrix("smoke")
    assert {1, 3} <= {case.batch for case in cases}
    assert any(case.height % 2 and case.width % 2 for case in cases)
    assert any(case.tokens != 77 for case in cases)
    assert sum(case.size for case in cases) < 3075  # what it cost before
    assert any(case.height >= 64 for case in cases)
    assert any(case.width >= 64 for case in cases)
    assert any(case.tokens > 77 for case in cases)
    assert 0.0 in {case.timestep for case in cases}
    assert any(case.batch > 1 and len(case.timesteps) == 1 for case in cases)


def test_the_traced_size_is_among_the_cases():
    """It is the one that the trace is made at, not one written down twice."""
    assert (HINTS["H"], HINTS["W"]) in {(c.height, c.width) for c in matrix("standard")}


def test_a_contrast_has_a_sample_for_each_condition():
    (case,) = (case for case in matrix("smoke", conditions=6) if case.contrast)
    assert case.batch == 7
    assert case.timesteps == (996.0, 249.0, 996.0, 996.0, 996.0, 996.0, 996.0)


def test_standard_takes_every_value_of_every_axis():
    cases = matrix("standard")
    assert set(matrix("smoke")) <= set(cases)
    assert {case.batch for case in cases} == {1, 2, 3}
    assert {1, 77, 154} <= {case.tokens for case in cases}
    assert {0.0, 500.0, 999.0} <= {case.timestep for case in cases}
    assert any(case.timestep % 1 for case in cases)
    assert any(case.height * case.width > 60 * 52 for case in cases)
    assert any(case.height != case.width for case in cases)


def test_full_takes_every_pair_of_values():
    cases = matrix("full")
    for batch, tokens in itertools.product((1, 2, 3), (1, 77, 154)):
        assert any((case.batch, case.tokens) == (batch, tokens) for case in cases)
    for size, timestep in itertools.product(((33, 35), (8, 8)), (999.0, 0.0, 500.0)):
        assert any(
            (case.height, case.width, case.timestep) == (*size, timestep) for case in cases
        )


def test_cases_are_fitted_to_the_model():
    assert fit(ParityCase(1, 33, 35), 8) == ParityCase(1, 40, 40)
    cases = matrix("full", size_multiple=32, text=False)
    assert all(case.height % 32 == case.width % 32 == 0 for case in cases)
    assert {case.tokens for case in cases} == {77}
    assert len(set(cases)) == len(cases)


def test_a_time_of_which_the_logarithm_is_taken_is_not_0(workshop) -> None:
    source = workshop.source("skip-images")
    assert {case.timestep for case in cases_of(source)} >= {1.0, 740.5}
    assert all(case.timestep for case in cases_of(source, "standard"))
