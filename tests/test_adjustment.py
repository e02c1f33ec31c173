import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from germane.stats.adjustment import adjusted, adjusted_difference
from germane.stats.means import stratified_difference
from germane.stats.moments import Moments
from germane.types import InputError

POPULATIONS = {"a": 30, "b": 70}
seeds = st.integers(0, 2**32)


def experiment(seed, n=40, rho=0.8):
    """Differences that follow two covariates inside two strata, and the covariates' means in the population."""
    rng = np.random.default_rng(seed)
    strata = np.where(np.arange(n) % 3 == 0, "a", "b")
    x = rng.normal(size=(n, 2)) + np.where(strata == "a", 1.0, 0.0)[:, None]
    d = 0.1 * (rho * x[:, 0] + np.sqrt(1 - rho**2) * rng.normal(size=n)) + np.where(strata == "a", 0.05, 0.0)
    return d, x, strata, {"a": (1.0, 1.0), "b": (0.0, 0.0)}


def test_one_stratum_is_the_regression_of_statsmodels():
    """The estimate is the fitted value at the population's means; our variance is s^2 / n, without the covariates' own part."""
    from statsmodels.regression.linear_model import OLS

    d, x, _, _ = experiment(1)
    e = adjusted_difference(d, x, strata=["a"] * 40, populations={"a": 1}, covariate_means=[0.4, 0.2], minimum_nonzero=0)
    fit = OLS(d, np.column_stack([np.ones(40), x - [0.4, 0.2]])).fit()
    assert e.value == pytest.approx(fit.params[0])
    assert e.se == pytest.approx(np.sqrt(fit.mse_resid / 40))
    assert e.df == fit.df_resid == 37


def test_two_strata_by_hand_with_the_coefficient_of_least_variance():
    d, x, strata, means = experiment(2, n=12)
    z = x[:, 0]
    found = adjusted(d, z, strata=strata, populations=POPULATIONS, covariate_means={"a": 1.0, "b": 0.0})
    scale = {"a": 0.3**2 / (4 * 3), "b": 0.7**2 / (8 * 7)}
    cov = {s: np.cov(z[strata == s], d[strata == s]) * (np.sum(strata == s) - 1) for s in "ab"}
    beta = sum(scale[s] * cov[s][0, 1] for s in "ab") / sum(scale[s] * cov[s][0, 0] for s in "ab")
    assert found.coefficients == pytest.approx((beta,))
    moved = {s: d[strata == s] - beta * (z[strata == s] - means[s][0]) for s in "ab"}
    assert found.estimate.value == pytest.approx(0.3 * moved["a"].mean() + 0.7 * moved["b"].mean())
    spread = {s: Moments.of(moved[s]).centred_sq * 10 / 9 for s in "ab"}  # a coefficient costs one of 10 degrees of freedom
    assert found.estimate.se**2 == pytest.approx(0.3**2 * spread["a"] / 3 / 4 + 0.7**2 * spread["b"] / 7 / 8)
    assert found.variance_ratio == pytest.approx(found.estimate.se**2 / found.unadjusted.se**2)


@given(seeds)
@settings(max_examples=30)
def test_swapping_the_arms_negates_it(seed):
    d, x, strata, means = experiment(seed)
    there, back = (adjusted_difference(y, x, strata=strata, populations=POPULATIONS, covariate_means=means) for y in (d, -d))
    assert (back.value, back.low, back.high) == pytest.approx((-there.value, -there.high, -there.low))


@given(seeds, st.floats(0.01, 100), st.floats(-5, 5))
@settings(max_examples=30)
def test_the_covariates_unit_and_origin_do_not_matter(seed, unit, origin):
    d, x, strata, means = experiment(seed)
    moved = {name: unit * np.array(mean) + origin for name, mean in means.items()}
    one = adjusted_difference(d, x, strata=strata, populations=POPULATIONS, covariate_means=means)
    other = adjusted_difference(d, unit * x + origin, strata=strata, populations=POPULATIONS, covariate_means=moved)
    assert (other.value, other.se, other.df) == pytest.approx((one.value, one.se, one.df), rel=1e-6)


@given(seeds, st.randoms())
@settings(max_examples=30)
def test_the_order_of_queries_does_not_matter(seed, random):
    d, x, strata, means = experiment(seed)
    order = random.sample(range(d.size), d.size)
    one = adjusted_difference(d, x, strata=strata, populations=POPULATIONS, covariate_means=means)
    other = adjusted_difference(d[order], x[order], strata=strata[order], populations=POPULATIONS, covariate_means=means)
    assert (other.value, other.se) == pytest.approx((one.value, one.se))


def test_a_covariate_that_the_sample_meets_on_average_moves_nothing_but_the_error():
    d, x, strata, _ = experiment(5)
    met = {name: x[strata == name].mean(axis=0) for name in "ab"}
    found = adjusted(d, x, strata=strata, populations=POPULATIONS, covariate_means=met)
    assert found.estimate.value == pytest.approx(found.unadjusted.value)
    assert found.variance_ratio < 0.6
    assert "regression adjusted (variance x 0." in found.estimate.method


def test_the_variance_ratio_is_one_less_the_squared_correlation_with_the_difference():
    rng = np.random.default_rng(3)
    d, x, strata, _ = experiment(3, n=4000, rho=0.7)
    found = adjusted(d, x[:, 0], strata=strata, populations=POPULATIONS, covariate_means={"a": 1.0, "b": 0.0})
    assert found.variance_ratio == pytest.approx(1 - 0.7**2, abs=0.05)
    level = rng.normal(size=4000)  # says nothing of the difference
    assert adjusted(d, level, strata=strata, populations=POPULATIONS, covariate_means=[0.0]).variance_ratio == pytest.approx(
        1, abs=0.01
    )


def test_one_mean_for_all_moves_the_whole_and_means_by_stratum_move_each():
    d, x, strata, means = experiment(6)
    overall = 0.3 * np.array(means["a"]) + 0.7 * np.array(means["b"])
    one = adjusted_difference(d, x, strata=strata, populations=POPULATIONS, covariate_means=overall)
    each = adjusted_difference(d, x, strata=strata, populations=POPULATIONS, covariate_means=means)
    assert (one.value, one.se) == pytest.approx((each.value, each.se))
    off = adjusted_difference(d, x, strata=strata, populations=POPULATIONS, covariate_means=overall + 1)
    assert off.value != pytest.approx(one.value)


def test_large_strata_may_take_a_coefficient_of_their_own():
    rng = np.random.default_rng(7)
    strata = np.repeat(["a", "b"], 60)
    x = rng.normal(size=120)
    d = np.where(strata == "a", 1.0, -1.0) * x + rng.normal(0, 0.3, 120)
    common = {"strata": strata, "populations": {"a": 1, "b": 1}, "covariate_means": {"a": 0.0, "b": 0.0}}
    pooled, own = adjusted_difference(d, x, **common), adjusted_difference(d, x, **common, own_from=60)
    assert own.se < 0.5 * pooled.se
    assert "own coefficients in large strata" in own.method
    assert adjusted_difference(d, x, **common, own_from=61).se == pooled.se


def test_a_constant_covariate_leaves_the_estimate_unadjusted_and_says_so():
    d, _, strata, _ = experiment(8)
    stratum = np.where(strata == "a", 2.0, 3.0)
    found = adjusted(d, stratum, strata=strata, populations=POPULATIONS, covariate_means=[2.5])
    assert found.estimate.caveat == "not adjusted: the covariate is constant in every stratum"
    assert (found.estimate.value, found.estimate.se, found.variance_ratio) == (found.unadjusted.value, found.unadjusted.se, 1)
    assert "adjusted" not in found.estimate.method
    x = np.column_stack([d + 0.1 * np.arange(40) % 1, stratum])
    part = adjusted(d, x, strata=strata, populations=POPULATIONS, covariate_means=[0.5, 2.5])
    assert part.estimate.caveat == "covariates that are constant in every stratum were left out"
    assert part.coefficients[1] == 0


def test_a_covariate_given_twice_is_used_once():
    d, x, strata, _ = experiment(9)
    z, mean = x[:, 0], {"a": 1.0, "b": 0.0}
    once = adjusted_difference(d, z, strata=strata, populations=POPULATIONS, covariate_means=mean)
    twice = adjusted_difference(
        d, np.column_stack([z, z]), strata=strata, populations=POPULATIONS, covariate_means={"a": (1, 1), "b": (0, 0)}
    )
    assert twice.value == pytest.approx(once.value)


def test_a_stratum_of_one_query_is_adjusted_and_borrows_only_if_asked():
    d, x, strata, means = experiment(3)
    d, x, strata = np.r_[d, 0.4], np.r_[x, x[:1]], np.r_[strata, ["lone"]]
    options = {"strata": strata, "populations": {**POPULATIONS, "lone": 50}, "covariate_means": {**means, "lone": x[1]}}
    with pytest.raises(ValueError, match="'lone' has 1 judged queries"):
        adjusted(d, x, **options)
    found = adjusted(d, x, **options, lone="borrow")
    rest = adjusted(d[:-1], x[:-1], strata=strata[:-1], populations=POPULATIONS, covariate_means=means)
    assert found.coefficients == pytest.approx(rest.coefficients)
    share = 50 / (50 + sum(POPULATIONS.values()))
    alone = 0.4 - (x[0] - x[1]) @ found.coefficients
    assert found.estimate.value == pytest.approx((1 - share) * rest.estimate.value + share * alone)
    assert found.estimate.se > (1 - share) * rest.estimate.se
    same = adjusted_difference(d, x, **options, lone="borrow")
    assert same == found.estimate


def test_level_and_minimum_are_heeded():
    d, x, strata, means = experiment(10, n=20)
    common = {"strata": strata, "populations": POPULATIONS, "covariate_means": means}
    e = adjusted_difference(d, x, **common)
    assert e.caveat.startswith("not reliable: 20 of 20")
    assert adjusted_difference(d, x, **common, minimum_nonzero=0).caveat == ""
    wide = adjusted_difference(d, x, **common, level=0.99)
    assert wide.low < e.low < e.high < wide.high


@pytest.mark.parametrize(
    ("x", "means", "options", "problem"),
    [
        ([1, 2, np.nan, 4, 5], [2.0], {}, "covariate 0 of row 2 is missing"),
        ([1, 2, 3], [2.0], {}, "5 differences and covariates of shape"),
        ([1, 2, 3, 4, 5], {"b": 2.0}, {}, "stratum 'a' has no population mean"),
        ([1, 2, 3, 4, 5], [np.nan], {}, "covariate means of the population are"),
        ([1, 2, 3, 4, 5], {"a": (1, 2)}, {}, "covariate means of stratum 'a' are"),
        ([1, 2, 3, 4, 5], [2.0], {"own_from": 3}, "coefficients per stratum need the covariate's mean in each stratum"),
        (np.arange(20).reshape(5, 4) ** 2, [1, 2, 3, 4], {}, "5 queries in 1 strata cannot bear 4 coefficients"),
    ],
)
def test_what_cannot_adjust_is_refused(x, means, options, problem):
    with pytest.raises(InputError, match=problem):
        adjusted_difference(
            [0.1, 0.3, 0.2, 0.5, 0.0], x, strata=["a"] * 5, populations={"a": 9}, covariate_means=means, **options
        )


def test_nothing_is_adjusted_in_arms_that_never_differ():
    found = adjusted([0.0] * 10, np.arange(10), strata=["a"] * 10, populations={"a": 9}, covariate_means=[4.0])
    assert (found.estimate.value, found.estimate.se, found.variance_ratio) == (0, 0, 1)
    assert found.estimate.caveat.startswith("not reliable: 0 of 10")


@pytest.mark.simulation
@pytest.mark.parametrize(("n", "p"), [(40, 1), (60, 3), (200, 1)])
def test_the_adjusted_interval_covers(n, p, repetitions):
    """Two strata, covariates that tell half of the difference. Tolerance: 4 Monte Carlo standard errors and 1 %."""
    repeats, rng = repetitions(reduced=500, whole=5000), np.random.default_rng(n + p)
    strata = np.where(np.arange(n) % 3 == 0, "a", "b")
    held, gain = 0, []
    for _ in range(repeats):
        x = rng.normal(size=(n, p))
        d = 0.02 + 0.1 * (0.7 * x[:, 0] + 0.7 * rng.normal(size=n))
        found = adjusted(d, x, strata=strata, populations=POPULATIONS, covariate_means=np.zeros(p))
        held += found.estimate.low <= 0.02 <= found.estimate.high
        gain.append(found.variance_ratio)
    assert held / repeats == pytest.approx(0.95, abs=0.01 + 4 * np.sqrt(0.05 * 0.95 / repeats))
    assert np.mean(gain) == pytest.approx(0.5, abs=0.06)


def test_without_covariates_that_help_it_is_the_plain_estimate_in_the_limit():
    d, _, strata, _ = experiment(11)
    plain = stratified_difference({s: Moments.of(d[strata == s]) for s in "ab"}, POPULATIONS)
    orthogonal = np.zeros(40)
    for name in "ab":
        rows = np.flatnonzero(strata == name)
        off = d[rows] - d[rows].mean()
        z = np.cos(rows)
        z -= z.mean()
        orthogonal[rows] = z - off * (z @ off) / (off @ off)
    e = adjusted_difference(d, orthogonal, strata=strata, populations=POPULATIONS, covariate_means=[0.0])
    assert e.value == pytest.approx(plain.value)
    assert e.se == pytest.approx(plain.se * np.sqrt(38 / 37))
