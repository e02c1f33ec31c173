"""Equivalence within a margin, bias against the number of queries, and decisions in resampled experiments."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.weightstats import ttost_paired

from germane.stats.clustered import Undefined
from germane.stats.equivalence import (
    bias_against_queries,
    decision_agreement,
    decisions,
    equivalence,
    queries_until,
    tost,
)
from germane.types import Estimate, InputError


def bias(values):
    x = np.asarray(values)
    return Estimate(x.mean(), x.std(ddof=1) / len(x) ** 0.5, 0, 0, len(x), "bias", df=len(x) - 1.0)


def test_the_p_value_is_that_of_two_one_sided_tests():
    rng = np.random.default_rng(3)
    for shift in (0.0, 0.01, -0.03):
        people, judge = rng.normal(0, 0.1, 80), rng.normal(shift, 0.1, 80)
        found = equivalence(bias(judge - people), 0.02)
        assert found.p == pytest.approx(ttost_paired(judge, people, -0.02, 0.02)[0])


@pytest.mark.parametrize(
    ("value", "se", "verdict"),
    [
        (0.0, 0.0005, "equivalent"),
        (0.0, 0.005, "underpowered"),
        (0.01, 0.001, "not equivalent"),
        (-0.01, 0.001, "not equivalent"),
        (0.0025, 0.001, "underpowered"),
    ],
)
def test_a_bias_is_equivalent_not_equivalent_or_not_yet_known(value, se, verdict):
    assert tost(Estimate(value, se, 0, 0, 900, "bias", df=899), 0.002) == verdict


def test_alpha_and_power_are_heard():
    e = Estimate(0.0, 0.0011, 0, 0, 900, "bias", df=899)
    assert (tost(e, 0.002), tost(e, 0.002, alpha=0.01)) == ("equivalent", "underpowered")
    assert equivalence(e, 0.002, power=0.9).needed > equivalence(e, 0.002).needed


def test_a_margin_of_two_thousandths_at_an_sd_of_six_hundredths_needs_thousands_of_audited_queries():
    """8.56 (0.06 / 0.002)^2 = 7,708 for a power of 0.8; 9,740 for one of 0.9."""
    found = [equivalence(Estimate(0, 0.06 / 10, 0, 0, 100, "bias", df=99), 0.002, power=p).needed for p in (0.8, 0.9)]
    assert found == [7708, 9740]


@pytest.mark.simulation
def test_as_many_queries_as_are_said_show_equivalence_four_times_in_five(repetitions):
    """Power 0.8 at the stated n, no true bias. Monte Carlo tolerance: 4 sqrt(0.8 x 0.2 / runs)."""
    runs = repetitions(reduced=1000, whole=20_000)
    n = equivalence(Estimate(0, 0.1, 0, 0, 100, "bias", df=99), 0.2).needed
    rng = np.random.default_rng(5)
    x = rng.normal(0, 1, (runs, n))
    shown = [
        tost(Estimate(m, s / n**0.5, 0, 0, n, "", df=n - 1.0), 0.2) for m, s in zip(x.mean(1), x.std(1, ddof=1), strict=True)
    ]
    assert np.mean([verdict == "equivalent" for verdict in shown]) == pytest.approx(0.8, abs=4 * (0.16 / runs) ** 0.5)


def test_what_never_varied_or_is_not_reliable_shows_nothing():
    still = equivalence(Estimate(0.0, 0.0, 0, 0, 50, "bias"), 0.002)
    assert (still.verdict, still.p, still.needed) == ("underpowered", None, None)
    few = replace(Estimate(0.0, 0.0001, 0, 0, 900, "bias", df=899), caveat="not reliable: 4 of 900 differences are not zero")
    assert equivalence(few, 0.002).verdict == "underpowered"
    assert equivalence(few, 0.002).note.startswith("not reliable")


@pytest.mark.parametrize("margin", [0, -0.002, float("nan"), float("inf")])
def test_a_margin_is_above_zero(margin):
    with pytest.raises(InputError, match="above 0"):
        tost(Estimate(0, 0.1, 0, 0, 10, ""), margin)


# --- bias against the number of queries -------------------------------------------------------------------------------


def test_a_bias_stays_while_the_noise_shrinks():
    rows = bias_against_queries(Estimate(0.005, 0, 0, 0, 120, ""), 0.06, sizes=[100, 400, 6400])
    assert [row.se for row in rows] == pytest.approx([0.006, 0.003, 0.00075])
    assert rows[0].mde == pytest.approx(2.8016 * 0.006, rel=1e-4)
    assert rows[0].covers > rows[1].covers > rows[2].covers
    expected = stats.norm.cdf(1.95996 - 5 / 3) - stats.norm.cdf(-1.95996 - 5 / 3)
    assert rows[1].covers == pytest.approx(expected, abs=1e-5)
    assert bias_against_queries(Estimate(0, 0, 0, 0, 9, ""), 0.06, sizes=[9])[0].covers == pytest.approx(0.95)
    wide = bias_against_queries(Estimate(0, 0, -0.005, 0.002, 9, ""), 0.06, sizes=[400])[0]
    assert (wide.covers, wide.least) == pytest.approx((0.95, expected), abs=1e-5)
    strict = bias_against_queries(Estimate(0, 0, 0, 0, 9, "", level=0.9), 0.06, sizes=[9], power=0.9)[0]
    assert strict.covers == pytest.approx(0.9)
    assert strict.mde == pytest.approx((1.6449 + 1.2816) * 0.02, rel=1e-4)


def test_the_bias_exceeds_the_noise_from_a_number_of_queries_on():
    assert queries_until(-0.01, 0.1) == 100
    assert queries_until(0.01, 0.1, times=2) == 400
    assert queries_until(0.0, 0.1) is None
    with pytest.raises(InputError, match="do not vary"):
        bias_against_queries(Estimate(0.1, 0, 0, 0, 5, ""), 0.0)


# --- decisions --------------------------------------------------------------------------------------------------------

differences = st.lists(st.floats(-1, 1, width=16), min_size=3, max_size=30)


@given(differences)
def test_a_judge_that_is_the_people_decides_as_they_do(values):
    (found,) = decisions(values, values, sizes=[20], seed=1, experiments=50)
    assert found.same.value == 1
    assert found.opposite == 0


@given(differences, st.integers(0, 5))
def test_swapping_the_arms_turns_every_verdict_round(values, seed):
    judge = np.roll(values, 1)
    there = decisions(values, judge, sizes=[15], seed=seed, experiments=40)[0]
    back = decisions(np.negative(values), -judge, sizes=[15], seed=seed, experiments=40)[0]
    turned = np.array(back.table)[[1, 0, 2]][:, [1, 0, 2]]
    assert np.array(there.table) == pytest.approx(turned)
    assert there.same == back.same


def test_shares_are_those_of_the_t_test():
    """How often a t test at n = 25 finds an effect of half an SD: 0.670 (noncentral t), within 4 Monte Carlo errors."""
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, 20_000)
    x = (x - x.mean()) / x.std() + 0.5
    (found,) = decisions(x, -x, sizes=[25], seed=2, experiments=2000)
    limit = stats.t.ppf(0.975, 24)
    power = stats.nct.sf(limit, 24, 0.5 * 5)
    assert sum(found.table[0]) == pytest.approx(power, abs=4 * (power * (1 - power) / 2000) ** 0.5)
    assert found.table[0][1] == found.opposite == pytest.approx(sum(found.table[0]))
    assert found.sign.value == 0
    assert found.same.se == pytest.approx((found.same.value * (1 - found.same.value) / 2000) ** 0.5)
    assert "Monte Carlo" in found.same.caveat


def test_more_queries_see_what_few_cannot_and_weights_and_level_are_heard():
    rng = np.random.default_rng(4)
    people = rng.normal(0.1, 1, 300)
    judge = people + rng.normal(0.0, 0.4, 300)
    few, many = decisions(people, judge, sizes=[50, 5000], seed=1)
    assert few.table[2][2] > 0.5
    assert many.table[0][0] > 0.9
    strict = decisions(people, judge, sizes=[300], seed=1, level=0.9999)[0]
    assert strict.table[2][2] > decisions(people, judge, sizes=[300], seed=1)[0].table[2][2]
    only = np.where(people > 0, 1.0, 1e-9)
    assert decisions(people, judge, sizes=[100], seed=1, weights=only)[0].table[0][0] == 1
    assert decisions(people, judge, sizes=[50], seed=1) != decisions(people, judge, sizes=[50], seed=2)


def test_no_difference_at_all_is_unclear_and_has_no_sign():
    (found,) = decisions([0.0] * 9, [0.0] * 9, sizes=[9], seed=1, experiments=20)
    assert found.table[2][2] == 1
    assert found.sign is None
    with pytest.raises(Undefined, match="no sign"):
        decision_agreement([0.0] * 9, [0.0] * 9, sign=True, seed=1)


def test_the_interval_of_the_agreement_is_one_over_queries():
    rng = np.random.default_rng(4)
    people = rng.normal(0.1, 1, 200)
    judge = people + rng.normal(0.0, 0.6, 200)
    e = decision_agreement(people, judge, seed=1)
    (monte_carlo,) = decisions(people, judge, sizes=[200], seed=1)
    assert e.value == monte_carlo.same.value
    assert e.low < monte_carlo.same.low < monte_carlo.same.high < e.high
    assert e.n == 200
    sign = decision_agreement(people, judge, seed=1, sign=True)
    assert sign.value == monte_carlo.sign.value > e.value
    assert sign.low < monte_carlo.sign.low
    assert sign.caveat == e.caveat == ""
    assert decision_agreement(people, judge, seed=1, n=50).value != e.value
    assert decision_agreement(people, judge, seed=1, level=0.5).low > e.low
    assert decision_agreement(people, judge, seed=1, weights=np.where(people > 0, 1.0, 1e-9)).value == 1
    assert decision_agreement(people, judge, seed=1, outer=20).value == e.value
    assert decision_agreement(people, judge, seed=1, experiments=100).value != e.value


def test_what_cannot_be_resampled_is_refused():
    with pytest.raises(InputError, match="2 differences of people and 1"):
        decisions([0.1, 0.2], [0.1], sizes=[5], seed=1)
    with pytest.raises(Undefined, match="1 queries"):
        decisions([0.1], [0.1], sizes=[5], seed=1)
    with pytest.raises(InputError, match="2 are the least"):
        decisions([0.1, 0.2], [0.1, 0.3], sizes=[1], seed=1)
