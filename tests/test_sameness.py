"""The figures of an engine against the plain model: by hand, by scaling laws, and against models that would hide an error."""

import numpy as np
import pytest

from germane.stats.sameness import sameness
from germane.types import InputError

GAINS = (0.0, 0.01, 0.1, 1.0)


def model(spread, n=4000, queries=100, seed=0):
    """Logits of a model, and two arms that show half of each query's documents each."""
    rng = np.random.default_rng(seed)
    query = np.arange(n) % queries
    shown = rng.random(n) < 0.5
    arms = {"query": query, "control": 1.0 * shown, "treatment": 1.0 * ~shown, "gains": GAINS}
    return rng.normal(0, spread, (n, 4)), arms


def off(logits, error, seed=1):
    return logits + np.random.default_rng(seed).normal(0, error, logits.shape)


def test_by_hand():
    plain = np.log([[0.6, 0.4], [0.48, 0.52], [0.3, 0.7], [0.2, 0.8]])
    other = np.log([[0.6, 0.4], [0.51, 0.49], [0.3, 0.7], [0.1, 0.9]])
    found = sameness(plain, other, gains=[0, 2], query=[0, 0, 1, 1], control=[1, 0, 1, 0], treatment=[0, 1, 0, 1])
    assert (found.n, found.differ) == (4, 1)
    assert found.margin == pytest.approx(0.04)
    assert found.gain == pytest.approx((0.06 + 0.2) / 4)
    # deltas of queries before: 2 (0.52 - 0.4), 2 (0.8 - 0.7); after: 2 (0.49 - 0.4), 2 (0.9 - 0.7)
    se = np.std([0.24, 0.2], ddof=1) / np.sqrt(2)
    assert found.shift == pytest.approx(abs((0.18 + 0.4) / 2 - 0.22) / se)
    more = sameness(plain, other, gains=[0, 2], query=[0, 0, 1, 1], control=[1, 0, 0, 0], treatment=[1, 1, 1, 1])
    middle = 2 * (0.4 + 0.52 + 0.7 + 0.8) / 4
    se = np.std([1.04 - middle, 3.0 - 2 * middle], ddof=1) / np.sqrt(2)
    assert more.shift == pytest.approx(abs(0.98 + 3.2 - 1.04 - 3.0) / 2 / se)
    assert found.logit == pytest.approx(np.log(2))


def test_the_same_logits_are_the_same():
    logits, arms = model(2.0)
    found = sameness(logits, logits, **arms)
    assert (found.differ, found.margin, found.gain, found.shift, found.logit, found.faults) == (0, 0, 0, 0, 0, ())


def test_small_rounding_passes_and_each_larger_error_is_named():
    logits, arms = model(2.0)
    assert sameness(logits, off(logits, 1e-4), **arms).faults == ()
    faults = sameness(logits, off(logits, 0.5), **arms).faults
    assert ["margin" in faults[0], "expected gains" in faults[1]] == [True, True]
    half = np.where(arms["control"][:, None] > 0, logits, logits + np.array([0.0, 0.0, 0.0, 0.02]))
    assert any("comparison" in fault for fault in sameness(logits, half, **arms).faults)
    tilted = logits + np.array([0.0, 0.0, 0.0, 0.02])  # no label of any margin, but all gains
    assert any("expected gains" in fault for fault in sameness(logits, tilted, **arms).faults)


def test_one_sure_label_that_flips_is_found_among_many():
    logits, arms = model(2.0)
    other = logits.copy()
    other[7] = np.roll(other[7], 1)
    assert "a label differs where the margin is" in sameness(logits, other, **arms).faults[0]


@pytest.mark.parametrize("seed", range(20))
def test_an_indifferent_model_cannot_hide_that_half_of_what_it_says_is_noise(seed):
    logits, arms = model(0.004, seed=seed)
    found = sameness(logits, off(logits, 0.004, seed + 100), **arms)
    assert found.differ > 1000
    assert found.margin < 0.05
    assert found.gain < 0.001
    assert found.shift >= 0.05
    assert len(found.faults) == 1


def test_a_model_that_is_certain_of_everything_shows_no_error_and_that_is_said():
    logits, arms = model(2.0)
    sure = 1000 * logits
    found = sameness(sure, off(sure, 1.0), **arms)
    assert found.gain < 0.001
    assert any("shows no error" in fault for fault in found.faults)


def test_temperature_and_weights_are_those_of_the_decision():
    logits, arms = model(2.0)
    other = off(logits, 0.05)
    warm, cold = sameness(logits, other, **arms, temperature=4.0), sameness(logits / 4, other / 4, **arms)
    assert (warm.differ, warm.gain, warm.shift) == pytest.approx((cold.differ, cold.gain, cold.shift))
    only = sameness(logits, other, **arms, weights=(1.0, 0.0, 0.0, 0.0))
    assert only.differ == 0
    assert only.gain == sameness(logits, other, **arms).gain


def test_gains_and_shift_scale_as_they_must():
    logits, arms = model(2.0)
    other = off(logits, 0.01)
    once, twice = sameness(logits, other, **arms), sameness(logits, other, **arms | {"gains": np.multiply(GAINS, 2)})
    assert twice.gain == pytest.approx(2 * once.gain)
    assert twice.shift == pytest.approx(once.shift)
    swapped = sameness(logits, other, **arms | {"control": arms["treatment"], "treatment": arms["control"]})
    assert swapped.shift == pytest.approx(once.shift)
    assert sameness(logits, other, **arms, seed=1).planted != once.planted


def test_what_does_not_fit_is_refused():
    logits, arms = model(2.0, n=40, queries=4)
    for changes in ({"gains": (0, 1)}, {"query": [1] * 40}, {"query": [1, 2]}, {"control": [1.0] * 3}):
        with pytest.raises(InputError, match=r"fit|queries"):
            sameness(logits, logits, **arms | changes)
    with pytest.raises(InputError, match="finite"):
        sameness(logits, logits * np.nan, **arms)
