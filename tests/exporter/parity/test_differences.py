"""What each condition changes is judged by itself, and called unprovable where it is noise."""

import numpy as np
import pytest

from exporter.parity.conditions import Condition
from exporter.parity.differences import Difference, differences

TIME, TEXT = Condition("time", "timestep"), Condition("text", "encoder_hidden_states")
NOISE = 1e-3


def measured(signal: float, heed: float = 1.0, error: float = NOISE) -> Difference:
    """An output of rms 1 that the text changes by ``signal``; the file heeds a share of it."""
    random = np.random.default_rng(0)
    base = random.standard_normal((4, 8, 16))
    text = signal * random.standard_normal(base.shape)
    truth = np.stack([base, base + 1.0, base + text])
    native = truth + NOISE * random.standard_normal(truth.shape)
    ours = np.stack([base, base + 1.0, base + heed * text])
    scale = np.array([NOISE, NOISE, error]).reshape(3, 1, 1, 1)
    ours = ours + scale * random.standard_normal(truth.shape)
    found = list(differences((ours, native, truth), [TIME, TEXT], eps=1e-7, limit=3.0))
    assert [part.condition for part in found] == ["time", "text"]
    assert found[0].verdict == "passed"
    return found[1]


def test_a_condition_that_is_heeded_passes_at_its_floor():
    found = measured(signal=0.1)
    assert found.verdict == "passed"
    assert found.ratio == pytest.approx(1, abs=0.1)
    assert found.signal == pytest.approx(0.1, rel=0.1)
    assert found.floor == pytest.approx(NOISE * 2**0.5, rel=0.1)


@pytest.mark.parametrize("heed", [0.0, 0.9, -1.0])
def test_one_that_is_not_heeded_fails(heed):
    assert measured(signal=0.1, heed=heed).verdict == "failed"


@pytest.mark.parametrize("heed", [0.0, 1.0])
def test_one_below_the_noise_is_not_provable_whatever_the_file_does(heed):
    assert measured(signal=NOISE, heed=heed).verdict == "not provable"


def test_noise_beyond_the_limit_fails_even_there():
    assert measured(signal=NOISE, error=10 * NOISE).verdict == "failed"


def test_what_is_not_finite_fails():
    assert measured(signal=0.1, heed=np.nan).verdict == "failed"
