"""The boost: it never falls with the gain, moves nobody too far, and is worth what its report says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_signals import ESCI, World
from sklearn.isotonic import IsotonicRegression

from germane.pipeline.signal_boost import pages
from germane.signal import evidence, fitting
from germane.signal.boost import Boost, BoostRule, Curve, checked, isotonic
from germane.signal.deciding import order
from germane.sources import read_run
from germane.types import InputError

RISING = Curve((0.0, 1.0), (-1.0, 1.0))
pairs = st.lists(st.tuples(st.floats(0, 1, width=32), st.floats(0, 1, width=32)), min_size=1, max_size=40)


@given(pairs)
def test_the_curve_never_falls(rows):
    curve = isotonic([x for x, _ in rows], [y for _, y in rows])
    found = curve(np.linspace(-0.5, 1.5, 50))
    assert (np.diff(found) >= -1e-12).all()
    assert found.min() >= min(y for _, y in rows) - 1e-9
    assert found.max() <= max(y for _, y in rows) + 1e-9


@given(pairs)
def test_at_its_own_points_the_curve_is_scikit_learn_s(rows):
    x, y = (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))
    x = x + np.arange(x.size) * 1e-3  # scikit-learn joins equal x first
    curve = isotonic(x, y, points=1000)
    theirs = IsotonicRegression().fit(x, y).predict(x)
    blocks = np.unique(np.round(theirs, 9))
    assert np.allclose(np.unique(np.round(curve.value, 9)), blocks, atol=1e-6)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.sampled_from([None, 0, 2, 5]))
def test_a_larger_gain_gets_no_smaller_boost_and_nobody_moves_too_far(gain, most):
    n = len(gain)
    made = Boost(RISING, 3.0, (), 4, most)
    said = made.decide(segment="", probs=np.full((n, 4), 0.25), gain=gain, known=np.ones(n, bool))
    place = np.argsort(gain, kind="stable")
    assert (np.diff(said.boost[place]) >= 0).all()
    assert said.keep.all()
    moved = abs(order(-np.arange(n, dtype=float), said) - np.arange(n))
    assert most is None or moved.max(initial=0) <= most


def test_rules_demote_and_pin_and_an_unknown_result_gets_nothing():
    rules = (BoostRule("demote", 1, 0.8, 5.0), BoostRule("pin", 3, 0.9, 2.0))
    made = Boost(Curve(), 0.0, rules, 4, None, ESCI.labels)
    probs = [[0.5, 0.4, 0.1, 0.0], [0, 0, 0.05, 0.95], [0.9, 0, 0, 0.1], [0.25] * 4]
    said = made.decide(segment="", probs=probs, gain=[0, 1, 0, 0.5], known=[True, True, False, True])
    assert said.boost.tolist() == [-5.0, 2.0, 0.0, 0.0]
    assert said.reason == ("demote C, P at least 0.80", "pin E, P at least 0.90", "", "")


@pytest.mark.parametrize(
    "rule",
    [BoostRule("lift", 0, 0.5, 1), BoostRule("pin", 4, 0.5, 1), BoostRule("pin", 0, 1.5, 1), BoostRule("pin", 0, 0.5, -1)],
)
def test_a_rule_that_cannot_be_is_an_error(rule):
    with pytest.raises(InputError, match="a rule of a boost"):
        checked(rule, 4)


def of(world):
    predicted = evidence.predictions(world.judgments(), ESCI)[0]
    return pages(read_run(world.run()).table, predicted, world.people(), ESCI)


def test_a_boost_helps_a_dim_ranker_and_its_worth_is_measured_out_of_fold():
    found = fitting.fit(of(World(60)), ESCI, fitting.Fit())
    assert found.boost.strength > 0
    assert found.found["difference"].low > 0
    levels = found.found["boosted"].value - found.found["control"].value
    assert levels == pytest.approx(found.found["difference"].value)
    assert found.strengths[0.0] == pytest.approx(found.found["control"].value)


def test_a_judge_that_knows_nothing_is_not_shown_to_help():
    found = fitting.fit(of(World(60, noise=50.0)), ESCI, fitting.Fit(metric="nDCG@10"))
    assert found.found["difference"].low <= 0
    assert found.notes


def test_the_bound_takes_part_in_the_fit():
    free = fitting.fit(of(World(40)), ESCI, fitting.Fit(most=None))
    held = fitting.fit(of(World(40)), ESCI, fitting.Fit(most=0))
    assert held.found["difference"].value == 0 < free.found["difference"].value


def test_an_unknown_result_counts_as_an_average_one():
    world = World(60)
    boost = fitting.fit(of(world), ESCI, fitting.Fit()).boost
    gain = world.probs @ np.asarray(ESCI.gains)
    assert abs(np.mean(boost.curve(gain))) < 1e-6


def test_scores_that_never_differ_and_few_queries_fit_nothing():
    world = World(60)
    world.score[:] = 1.0
    with pytest.raises(InputError, match="scores do not differ"):
        fitting.fit(of(world), ESCI, fitting.Fit())
    with pytest.raises(InputError, match="5 queries of the run"):
        fitting.fit(of(World(5)), ESCI, fitting.Fit())


def test_nothing_and_numbers_that_are_none_make_no_curve():
    for x, y in (([], []), ([0.1], [np.nan]), ([0.1, 0.2], [1.0])):
        with pytest.raises(InputError):
            isotonic(x, y)
