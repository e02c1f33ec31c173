"""Single raters beside the others, and Dawid and Skene's model against crowd-kit and a known truth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from germane.stats.clustered import Undefined
from germane.stats.dawid_skene import dawid_skene
from germane.stats.raters import against_others, difference_of_means, side_by_side, trend
from germane.types import InputError


def simulated(rng, units=600, raters=5, grades=3, right=0.8):
    """(unit, rater, grade, truth, confusion): each rater has a matrix of their own."""
    truth = rng.choice(grades, units, p=[0.5, 0.3, 0.2])
    confusion = np.stack([np.eye(grades) * right + rng.dirichlet(np.ones(grades), grades) * (1 - right) for _ in range(raters)])
    unit, rater = np.repeat(np.arange(units), raters), np.tile(np.arange(raters), units)
    odds = confusion[rater, truth[unit]].cumsum(1)
    return unit, rater, (rng.random(unit.size)[:, None] > odds).sum(1).clip(max=grades - 1), truth, confusion


@pytest.mark.filterwarnings("ignore:The inplace keyword", "ignore:The copy keyword")  # of pandas, in crowd-kit
def test_dawid_skene_is_crowd_kits():
    pd = pytest.importorskip("pandas")
    aggregation = pytest.importorskip("crowdkit.aggregation", reason="crowd-kit is a development dependency")
    unit, rater, grade, *_ = simulated(np.random.default_rng(3))
    theirs = aggregation.DawidSkene(n_iter=500, tol=1e-9)
    probs = theirs.fit_predict_proba(pd.DataFrame({"task": unit, "worker": rater, "label": grade}))
    ours = dawid_skene(unit, rater, grade, grades=3, smoothing=0.0, rounds=500, tolerance=1e-9)
    assert np.allclose(probs.sort_index()[[0, 1, 2]].to_numpy(), ours.probs, atol=1e-4)
    for worker in range(5):
        errors = theirs.errors_.loc[worker].reindex([0, 1, 2]).fillna(0)[[0, 1, 2]].to_numpy()  # given by row, true by column
        assert np.allclose(errors.T, ours.confusion[worker], atol=1e-3)


def test_raters_with_known_errors_are_recovered_and_the_model_beats_the_majority():
    unit, rater, grade, truth, confusion = simulated(np.random.default_rng(5), units=4000, right=0.55)
    found = dawid_skene(unit, rater, grade, grades=3)
    assert abs(found.confusion - confusion).max() < 0.08  # 4 standard errors of a share of 800 votes at 0.5 are 0.07
    votes = np.zeros((4000, 3))
    np.add.at(votes, (unit, grade), 1)
    assert (found.probs.argmax(1) == truth).mean() >= (votes.argmax(1) == truth).mean()
    assert found.settled


@given(st.permutations(range(12)))
def test_the_order_of_votes_changes_nothing(order):
    unit, rater = np.repeat(np.arange(4), 3), np.tile(np.arange(3), 4)
    grade = np.array([0, 0, 1, 1, 1, 1, 2, 2, 0, 0, 0, 0])
    one, two = dawid_skene(unit, rater, grade, grades=3), dawid_skene(unit[order], rater[order], grade[order], grades=3)
    assert np.allclose(one.probs, two.probs)
    assert np.allclose(one.probs.sum(1), 1)


def test_a_grade_off_the_scale_is_refused():
    with pytest.raises(InputError, match="a vote of 3: expected 0 to 2"):
        dawid_skene([0], [0], [3], grades=3)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), min_size=1, max_size=40))
def test_everybodys_severities_of_a_unit_add_to_zero(votes):
    unit, grade = map(np.array, zip(*votes, strict=True))
    above, same = against_others(unit, grade)
    for u in set(unit.tolist()):
        mine = above[unit == u]
        assert np.isnan(mine).all() if len(mine) < 2 else abs(mine.sum()) < 1e-9
    assert ((same >= 0) & (same <= 1) | np.isnan(same)).all()
    assert np.isfinite(side_by_side(unit, grade)).sum() == len(votes)


def test_a_trend_is_least_squares_and_stands_still_for_one_moment():
    rng = np.random.default_rng(1)
    x, y = rng.random(50), rng.random(50)
    found, _ = trend(y, x, clusters=np.arange(50))
    assert found.value == pytest.approx(np.polyfit(x, y, 1)[0])
    with pytest.raises(Undefined, match="time stands still"):
        trend([1.0, 2.0, 3.0], [1, 1, 1], clusters=[0, 1, 2])


@pytest.mark.simulation
def test_a_trend_that_is_not_there_is_found_no_more_often_than_stated(repetitions):
    """Clustered noise, no trend, 40 queries. Tolerance: 4 sqrt(0.05 0.95 / repetitions); CR3 errs on the safe side."""
    rng, n = np.random.default_rng(11), repetitions(reduced=400, whole=4000)
    query = np.repeat(np.arange(40), 5)
    hits = 0
    for _ in range(n):
        y = rng.normal(0, 1, 40)[query] + rng.normal(0, 1, 200)
        hits += trend(y, rng.random(40)[query] + 0.2 * rng.random(200), clusters=query)[1] < 0.05
    assert 0.02 < hits / n < 0.05 + 4 * np.sqrt(0.05 * 0.95 / n)


def test_a_difference_of_two_means_of_the_same_answers_is_nothing_for_sure():
    x = np.random.default_rng(2).random(30)
    e = difference_of_means(x, x, clusters=(np.arange(30), np.arange(30)))
    assert abs(e.value) < 1e-12
    assert e.se < 1e-12


@pytest.mark.simulation
def test_the_interval_of_a_difference_holds_the_truth(repetitions):
    """Shares 0.4 and 0.25 over 60 queries that both share. Tolerance: 4 sqrt(0.95 0.05 / repetitions)."""
    rng, n = np.random.default_rng(4), repetitions(reduced=400, whole=4000)
    query, hits = np.repeat(np.arange(60), 4), 0
    for _ in range(n):
        lean = rng.normal(0, 0.1, 60)[query]
        a, b = (rng.random(240) < 0.4 + lean).astype(float), (rng.random(240) < 0.25 + lean).astype(float)
        e = difference_of_means(a, b, clusters=(query, query))
        hits += e.low <= 0.15 <= e.high
    assert hits / n == pytest.approx(0.95, abs=4 * np.sqrt(0.95 * 0.05 / n) + 0.005)
