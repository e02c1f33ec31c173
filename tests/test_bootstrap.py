import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from germane.stats.bootstrap import bootstrap_difference
from germane.stats.means import stratified_difference
from germane.stats.moments import Moments
from germane.types import InputError

SKEWED = np.r_[np.zeros(60), np.linspace(0.01, 0.05, 30), [0.4, 0.9, 1.4]]


def one(d, **options):
    return bootstrap_difference(d, strata=["a"] * len(d), populations={"a": 1}, **{"seed": 1, "resamples": 500} | options)


def test_value_and_error_are_those_of_the_plain_estimate():
    d, strata = np.arange(12) % 5 / 10, ["a", "b"] * 6
    e = bootstrap_difference(d, strata=strata, populations={"a": 3, "b": 7}, seed=1)
    plain = stratified_difference({"a": Moments.of(d[::2]), "b": Moments.of(d[1::2])}, {"a": 3, "b": 7})
    assert (e.value, e.se, e.df, e.caveat) == (plain.value, plain.se, plain.df, plain.caveat)
    assert e.method == "stratified paired difference, bootstrap-t, 2,000 resamples"


def test_one_seed_gives_one_answer_and_another_seed_another():
    assert one(SKEWED) == one(SKEWED)
    assert one(SKEWED).high != one(SKEWED, seed=2).high
    assert one(SKEWED).method != one(SKEWED, resamples=501).method


def test_a_skewed_sample_reaches_farther_where_its_tail_is():
    e, plain = one(SKEWED), stratified_difference({"a": Moments.of(SKEWED)}, {"a": 1}, limits="t")
    assert e.high > plain.high
    assert e.low > plain.low
    wide = one(SKEWED, level=0.99)
    assert wide.low < e.low < e.high < wide.high


@given(st.integers(0, 2**32))
@settings(max_examples=20)
def test_swapping_the_arms_mirrors_it_up_to_the_resamples(seed):
    d = np.random.default_rng(seed).normal(size=60)
    there, back = one(d, resamples=4000), one(-d, resamples=4000)
    assert back.value == -there.value
    assert back.high == pytest.approx(-there.low, abs=0.4 * there.se)


def test_scipys_bootstrap_t_of_one_stratum_agrees():
    """scipy has no studentised bootstrap: its quantiles are taken here from resampled t statistics of ttest_1samp."""
    rng = np.random.default_rng(8)
    d = rng.gamma(0.5, 1, 50)
    drawn = d[rng.integers(0, 50, (20_000, 50))]
    t = stats.ttest_1samp(drawn, d.mean(), axis=1).statistic
    e = one(d, resamples=20_000)
    low, high = d.mean() - np.quantile(t, [0.975, 0.025]) * d.std(ddof=1) / np.sqrt(50)
    assert (e.low, e.high) == pytest.approx((low, high), abs=0.1 * e.se)


def test_normal_differences_get_about_ts_limits_in_strata_of_two():
    rng = np.random.default_rng(4)
    d, strata = rng.normal(size=120), np.repeat(np.arange(60).astype(str), 2)
    e = bootstrap_difference(d, strata=strata, populations={str(h): 1 for h in range(60)}, seed=3)
    plain = stratified_difference({str(h): Moments.of(d[2 * h : 2 * h + 2]) for h in range(60)}, {str(h): 1 for h in range(60)})
    assert (e.low, e.high) == pytest.approx((plain.low, plain.high), abs=0.3 * e.se)


def test_too_few_changes_to_resample_give_t_limits_and_say_so():
    d = np.r_[np.zeros(40), [0.1, 0.2]]
    e = one(d, minimum_nonzero=0)
    plain = stratified_difference({"a": Moments.of(d)}, {"a": 1}, limits="t")
    assert (e.low, e.high) == (plain.low, plain.high)
    assert e.caveat == "not reliable: too few differences are not zero to resample"
    assert one(d).caveat == "not reliable: 2 of 42 differences are not zero, 30 are needed"
    still = one(np.zeros(40))
    assert (still.low, still.high, still.se) == (0, 0, 0)


def test_too_few_resamples_are_refused():
    with pytest.raises(InputError, match="99 resamples are too few"):
        one(SKEWED, resamples=99)


@pytest.mark.simulation
def test_it_covers_a_skewed_mean_better_than_t_does(repetitions):
    """Gamma of shape 1/4, n = 60: t covers about 0.90, bootstrap-t about 0.935. Tolerance: 4 Monte Carlo standard errors."""
    repeats, rng = repetitions(reduced=300, whole=4000), np.random.default_rng(5)
    held, plainly = 0, 0
    for seed in range(repeats):
        d = rng.gamma(0.25, 0.2, 60) - 0.05
        e = one(d, seed=seed, resamples=399)
        plain = stratified_difference({"a": Moments.of(d)}, {"a": 1}, limits="t")
        held += e.low <= 0 <= e.high
        plainly += plain.low <= 0 <= plain.high
    assert held > plainly
    assert held / repeats == pytest.approx(0.935, abs=0.01 + 4 * np.sqrt(0.06 * 0.94 / repeats))
