import math

import numpy as np
import pytest

from exporter.parity.metrics import compare, measure_floor


def test_equal_tensors_have_no_error():
    x = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
    found = compare(x, x)
    assert (found.max_abs, found.rms, found.tolerance_use, found.nonfinite) == (0, 0, 0, 0)
    assert found.cosine == pytest.approx(1)
    assert found.psnr == math.inf


def test_errors_are_what_their_names_say():
    b = np.array([1.0, -2.0, 0.0, 4.0])
    found = compare(b + np.array([0.0, 0.1, 0.0, -0.2]), b, atol=0.1, rtol=0.05)
    assert found.max_abs == pytest.approx(0.2)
    assert found.mean_abs == pytest.approx(0.075)
    assert found.max_rel == pytest.approx(0.05)
    assert found.rms == pytest.approx(math.sqrt(0.05 / 4))
    assert found.tolerance_use == pytest.approx(0.2 / 0.3)


def test_one_element_beyond_the_tolerance_is_enough():
    b = np.zeros(1000)
    a = b.copy()
    a[3] = 1.1e-5
    assert compare(a, b, atol=1e-5).tolerance_use == pytest.approx(1.1)
    assert compare(a, b).tolerance_use == math.inf


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_never_within_tolerance(bad):
    b = np.ones(4)
    a = b.copy()
    a[1] = bad
    found = compare(a, b, atol=1e9)
    assert found.tolerance_use == math.inf
    assert found.nonfinite == 1
    assert compare(b, a, atol=1e9).tolerance_use == math.inf  # a broken reference as well
    assert compare(a, a, atol=1e9).tolerance_use == math.inf


def test_shapes_are_never_broadcast():
    with pytest.raises(ValueError, match="shapes differ"):
        compare(np.zeros((1, 4)), np.zeros((2, 4)))


def test_floor_counts_how_far_each_backend_is_from_the_truth():
    truth = np.zeros(100) + 1.0
    found = measure_floor(truth + 3e-6, truth - 1e-6, truth, eps=1.2e-7)
    assert found.ratio == pytest.approx(3, rel=1e-6)
    assert found.max_abs == pytest.approx(1e-6, rel=1e-6)


def test_an_exact_reference_still_leaves_one_rounding():
    truth = np.full(100, 2.0)
    assert measure_floor(truth, truth, truth, eps=1e-7).rms == pytest.approx(0.5e-7)
    assert measure_floor(truth * np.nan, truth, truth, eps=1e-7).ratio == math.inf
