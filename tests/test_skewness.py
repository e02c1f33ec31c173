import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from germane.stats.skewness import LEANS, MOST, quantile_at, reaches, skewness_of

leans = st.floats(0.11, 1.0).flatmap(lambda x: st.sampled_from([x, -x]))
quantiles = st.floats(0.5, 6)


def transform(t, a):
    """Hall (1992): what makes a studentised mean of skewness a nearly normal."""
    return t + a * t**2 / 3 + a**2 * t**3 / 27 + a / 6


@given(quantiles, leans)
def test_the_limit_towards_the_tail_is_halls_unless_ts_is_farther(quantile, skewness):
    below, above = reaches(quantile, skewness)
    tail, near = (above, below) if skewness > 0 else (below, above)
    assert tail >= quantile >= near
    if tail > quantile:
        assert transform(-tail, abs(skewness)) == pytest.approx(-quantile)
    assert reaches(quantile, 3 * MOST) == reaches(quantile, MOST)


@given(quantiles, leans)
def test_a_mirrored_mean_has_the_mirrored_interval(quantile, skewness):
    assert reaches(quantile, -skewness) == reaches(quantile, skewness)[::-1]


@given(quantiles, st.floats(-LEANS, LEANS))
def test_a_slight_lean_leaves_t_limits_alone(quantile, skewness):
    assert reaches(quantile, skewness) == (quantile, quantile)
    assert quantile_at(-quantile, skewness) == quantile


@given(st.floats(1.5, 5), leans)
def test_an_interval_tells_the_skewness_that_made_it(quantile, skewness):
    assert skewness_of(*reaches(quantile, skewness), quantile) == pytest.approx(skewness, rel=1e-6)


@given(st.floats(1, 5), leans)
def test_the_quantile_of_a_limit_is_the_one_that_it_was_made_with(quantile, skewness):
    below, above = reaches(quantile, skewness)
    assert quantile_at(below, skewness) == pytest.approx(quantile)
    assert quantile_at(-above, skewness) == pytest.approx(quantile)


def test_a_null_value_at_the_mean_is_no_evidence():
    assert quantile_at(0.0, 0.4) == pytest.approx(0, abs=1e-9)


def test_a_null_value_far_away_ends_the_search():
    assert quantile_at(-1e9, 1.0) > 100
    assert np.isfinite(quantile_at(1e9, 1.0))
