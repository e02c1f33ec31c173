"""Probabilities that mean what they say, and those that do not; means and quantiles over queries."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss
from statsmodels.stats.weightstats import DescrStatsW

from germane.stats.calibration import brier, calibration_error, expected_gain_error, reliability
from germane.stats.clustered import Undefined, mean, quantile
from germane.stats.means import stratified_mean
from germane.stats.moments import Moments
from germane.types import InputError


def world(rng, queries=60, size=8, power=1.0):
    """(probabilities, grades, query): the grades are drawn from softmax(z), the judge says softmax(power z)."""
    z = np.repeat(rng.normal(0, 1, (queries, 3)), size, 0) + rng.normal(0, 1, (queries * size, 3))
    true = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    said = np.exp(power * z) / np.exp(power * z).sum(1, keepdims=True)
    grades = (rng.random(len(z))[:, None] > true.cumsum(1)).sum(1)
    return said, grades, np.repeat(np.arange(queries), size)


# --- calibration ------------------------------------------------------------------------------------------------------


def test_brier_and_reliability_are_scikit_learns_on_two_grades():
    rng = np.random.default_rng(1)
    p = rng.random(500).round(3)
    y = (rng.random(500) < p**2).astype(int)
    both = np.column_stack([1 - p, p])
    assert brier(both, y).value == pytest.approx(2 * brier_score_loss(y, p))
    rows = [row for row in reliability(both, y, bins=5) if row.grade == 1]
    seen, expected = calibration_curve(y, p, n_bins=5, strategy="quantile")
    assert [row.expected for row in rows] == pytest.approx(expected, abs=0.01)
    assert [row.seen.value for row in rows] == pytest.approx(seen, abs=0.02)
    assert len([row for row in reliability(both, y, bins=3) if row.grade == 1]) == 3


def test_the_error_of_one_bucket_is_its_gap_freed_of_noise():
    """100 pairs said 0.9, 50 of them true: gap^2 = 0.16, less p (1 - p) / (n - 1) = 0.25 / 99."""
    e = calibration_error([[0.1, 0.9]] * 100, [0, 1] * 50)
    assert e.value == pytest.approx((0.16 - 0.25 / 99) ** 0.5)
    assert e.low < 0.4 < e.high


@pytest.mark.simulation
def test_a_calibrated_judge_shows_no_error_and_a_sharpened_one_does(repetitions):
    """Debiased: mean square 0 for the calibrated judge at 60 x 8, where the plain one is 0.06 squared. Its interval holds
    0 in at least 0.93 of runs; Monte Carlo tolerance 4 sqrt(0.95 x 0.05 / runs)."""
    runs = repetitions(reduced=150, whole=2000)
    rng = np.random.default_rng(2)
    holds, above = [], []
    for _ in range(runs):
        said, grades, query = world(rng)
        holds.append(calibration_error(said, grades, clusters=query).low == 0)
        said, grades, query = world(rng, power=3.0)
        above.append(calibration_error(said, grades, clusters=query).low > 0.03)
    assert np.mean(holds) > 0.93 - 4 * (0.95 * 0.05 / runs) ** 0.5
    assert np.mean(above) > 0.95


def test_a_calibrated_judge_is_said_to_show_none():
    found = [calibration_error(*world(np.random.default_rng(seed))[:2]) for seed in range(8)]
    none = [e for e in found if e.value == 0]
    assert none
    assert all(e.caveat.startswith("none is to be seen") and e.high > 0.02 for e in none)


def test_clusters_weights_bins_and_level_are_heard():
    said, grades, query = world(np.random.default_rng(3), power=2.5)
    plain = calibration_error(said, grades)
    assert calibration_error(said, grades, clusters=query).df == 59
    assert calibration_error(said, grades, bins=3).value != plain.value
    assert calibration_error(said, grades, level=0.8).low > plain.low
    heavy = np.where(grades == 0, 9.0, 1.0)
    for statistic in (calibration_error, brier):
        assert statistic(said, grades, weights=heavy).value != statistic(said, grades).value
        assert "weighted" in statistic(said, grades, weights=heavy).method
    assert brier(said, grades, clusters=query).se != brier(said, grades).se
    assert brier(said, grades, level=0.8).low > brier(said, grades).low
    rows = reliability(said, grades, clusters=query, weights=heavy, level=0.8)
    assert rows[0].seen.level == 0.8
    assert rows[0].seen.value > reliability(said, grades)[0].seen.value
    assert "clusters" in rows[0].seen.method


def test_expected_gain_error_is_the_mean_gap_in_units_of_the_top_gain():
    said, grades, query = world(np.random.default_rng(3))
    gains = np.array([0, 1, 4.0])
    e = expected_gain_error(said, grades, gains, clusters=query)
    assert e.value == pytest.approx((said @ gains - gains[grades]).mean() / 4)
    assert expected_gain_error(said, grades, 3 * gains).value == pytest.approx(e.value)
    assert expected_gain_error(said, grades, gains, weights=1 + grades).value != e.value
    assert expected_gain_error(said, grades, gains, clusters=query, level=0.5).low > e.low


@pytest.mark.parametrize("row", [[0.5, 0.4], [1.2, -0.2], [float("nan"), 0.5], [0.0, 0.0]])
def test_probabilities_add_to_one(row):
    for statistic in (brier, calibration_error, reliability):
        with pytest.raises(InputError, match="at row 1 do not add to 1"):
            statistic([[0.5, 0.5], row], [0, 1])


def test_probabilities_fit_the_grades():
    with pytest.raises(InputError, match="grade 2 has no probability"):
        brier([[0.5, 0.5]], [2])
    with pytest.raises(InputError, match="a row a pair"):
        brier([0.5, 0.5], [1])
    with pytest.raises(InputError, match="buckets"):
        calibration_error([[0.5, 0.5]] * 2, [1, 0], bins=0)
    with pytest.raises(Undefined):
        calibration_error([[0.5, 0.5]] * 2, [1, 0], clusters=[1, 1])


# --- means and quantiles over clusters --------------------------------------------------------------------------------

numbers = st.lists(st.floats(-1, 1, width=16), min_size=3, max_size=20)


def test_a_mean_of_single_rows_is_that_of_statsmodels():
    rng = np.random.default_rng(0)
    x = rng.normal(2, 1, 50)
    e, oracle = mean(x), DescrStatsW(x)
    assert (e.value, e.se) == pytest.approx((oracle.mean, oracle.std_mean))
    assert (e.low, e.high) == pytest.approx(oracle.tconfint_mean())


def test_a_mean_with_strata_is_the_stratified_mean():
    rng = np.random.default_rng(0)
    x, stratum = rng.normal(0, 1, 30), np.repeat(["a", "b", "c"], [5, 10, 15])
    x += 5 * (stratum == "b")
    populations = {"a": 50, "b": 20, "c": 30}
    weights = np.array([populations[s] / (stratum == s).sum() for s in stratum])
    e = mean(x, weights=weights, strata=stratum)
    parts = {s: Moments.of(x[stratum == s]) for s in "abc"}
    oracle = stratified_mean(parts, populations)
    assert (e.value, e.se) == pytest.approx((oracle.value, oracle.se))
    assert e.df == 27
    assert mean(x, weights=weights).se > e.se


@given(numbers)
def test_copies_of_a_row_inside_its_cluster_add_nothing(values):
    once = mean(values, clusters=range(len(values)))
    twice = mean(values * 2, clusters=[*range(len(values))] * 2)
    assert (twice.value, twice.se) == pytest.approx((once.value, once.se), abs=1e-12)
    assert mean(np.negative(values)).low == pytest.approx(-mean(values).high)


@given(numbers, st.floats(0.05, 0.95))
def test_quantiles_turn_round_with_their_numbers(values, p):
    there, back = quantile(values, p), quantile(np.negative(values), 1 - p)
    assert there.value == pytest.approx(-back.value)
    assert there.low <= there.value <= there.high


def test_a_quantile_is_numpys_second_definition():
    x = np.random.default_rng(1).normal(size=101)
    for p in (0.1, 0.5, 0.9):
        assert quantile(x, p).value == pytest.approx(np.quantile(x, p, method="averaged_inverted_cdf"))
    assert quantile([1, 2, 3], 0.5, weights=[1, 1, 8]).value == 3
    assert quantile(x, 0.1, level=0.5).low > quantile(x, 0.1).low
    assert "few" not in quantile(x, 0.1, method="P10").method
    assert quantile(x[:20], 0.1).caveat.startswith("about 2 pairs lie beyond")


@pytest.mark.simulation
def test_the_intervals_cover_over_queries(repetitions):
    """Mean and P10 of 50 queries x 4 skewed rows. Monte Carlo tolerance: 4 sqrt(0.95 x 0.05 / runs), and 0.02 for the skew."""
    runs = repetitions(reduced=300, whole=4000)
    rng = np.random.default_rng(6)

    def draw(queries):
        return (rng.exponential(1, (queries, 1)) + rng.normal(0, 1, (queries, 4))).ravel()

    truth = np.quantile(draw(200_000), 0.1)
    query = np.repeat(np.arange(50), 4)
    hits = []
    for _ in range(runs):
        x = draw(50)
        m, q = mean(x, clusters=query), quantile(x, 0.1, clusters=query)
        hits.append((m.low <= 1 <= m.high, q.low <= truth <= q.high))
    assert np.mean(hits, axis=0) == pytest.approx([0.95, 0.95], abs=4 * (0.0475 / runs) ** 0.5 + 0.02)


def test_what_has_no_mean_is_refused():
    for statistic in (mean, lambda x, **options: quantile(x, 0.5, **options)):
        with pytest.raises(Undefined):
            statistic([1.0, 2.0], clusters=["a", "a"])
        with pytest.raises(InputError, match="missing or infinite"):
            statistic([1.0, float("nan")])
    with pytest.raises(InputError, match="positive"):
        mean([1.0, 2.0], weights=[1, -1])
    with pytest.raises(InputError, match="two strata"):
        mean([1.0, 2.0, 3.0], clusters=["a", "a", "b"], strata=["x", "y", "x"])
    with pytest.raises(InputError, match="between 0 and 1"):
        quantile([1.0, 2.0], 1.0)
    assert mean([0.0, 1.0], bounds=(0, 1)).low == 0 > mean([0.0, 1.0]).low
    assert mean([0.0, 1.0], bounds=(0, 1)).high == 1
    assert mean([0.5, 0.5]).caveat.startswith("nothing varied")
    assert mean([1.0, 2.0, 5.0], strata=["x", "y", "z"]).df == 2
