"""Allocation and detectable effects: by hand, against scipy, statsmodels and brute force, and as properties."""

from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from germane.stats.power import (
    apportion,
    mde,
    neyman,
    relative_mde,
    sample_size,
    shrunken_sd,
    stratified_sample_size,
    stratified_se,
)
from germane.types import InputError

stratum = st.tuples(
    st.integers(2, 400), st.sampled_from([0.0, 0.01, 0.05, 0.1, 0.1, 0.3, 0.77]), st.sampled_from([0.5, 1.0, 4.0])
)


@st.composite
def designs(draw):
    """populations, sds, costs, and an n that they can hold."""
    rows = draw(st.lists(stratum, min_size=1, max_size=8))
    populations, sds, costs = (np.array(column) for column in zip(*rows, strict=True))
    return populations, sds, costs, draw(st.integers(2 * len(rows), int(populations.sum())))


def recursive_neyman(populations, sds, n):
    """The textbook: whoever exceeds its population is a census, and the rest is allocated again. Real numbers."""
    sample = np.zeros(len(populations))
    free = np.ones(len(populations), dtype=bool)
    while free.any():
        share = populations * sds * free
        sample[free] = ((n - populations[~free].sum()) * share / share.sum())[free]
        over = free & (sample > populations)
        if not over.any():
            break
        sample[over], free = populations[over], free & ~over
    return sample


def test_a_textbook_allocation_comes_out_by_hand():
    # N S = 1000, 1000, 2000 of 4000: a quarter, a quarter, a half
    assert neyman([100, 200, 1000], [10, 5, 2], 80).tolist() == [20, 20, 40]


def test_a_stratum_that_is_full_passes_its_share_on():
    # N S = 20, 30, 18 of 120 would give 35.3, 52.9, 31.8; the last holds 20, and the other two share 100 as 20 to 30
    assert neyman([100, 300, 20], [0.2, 0.1, 0.9], 120).tolist() == [40, 60, 20]


def test_a_query_that_costs_four_times_as_much_is_asked_half_as_often():
    assert neyman([1000, 1000], [0.1, 0.1], 300, costs=[1, 4]).tolist() == [200, 100]


def test_equal_sds_make_it_proportional():
    assert neyman([10, 30, 60], None, 20).tolist() == [2, 6, 12]
    assert neyman([10, 30, 60], [0.0, 0.0, 0.0], 20).tolist() == [2, 6, 12]


def test_a_stratum_without_variance_gets_its_minimum_until_the_others_are_full():
    assert neyman([10, 50, 50], [0.3, 0.0, 0.1], 20).tolist() == [7, 2, 11]
    assert neyman([10, 50, 30], [0.3, 0.0, 0.0], 34).tolist() == [10, 15, 9]


def test_a_stratum_smaller_than_the_minimum_is_a_census():
    assert neyman([3, 100], [0.1, 0.1], 40, minimum=10).tolist() == [3, 37]


@given(designs())
def test_the_whole_sample_is_used_within_bounds(design):
    populations, sds, costs, n = design
    sample = neyman(populations, sds, n, costs=costs)
    assert sample.sum() == n
    assert (sample >= 2).all()
    assert (sample <= populations).all()


@given(designs(), st.randoms(use_true_random=False))
def test_the_order_of_strata_does_not_matter(design, random):
    populations, sds, costs, n = design
    order = list(range(len(populations)))
    random.shuffle(order)
    there = neyman(populations, sds, n, costs=costs)
    shuffled = neyman(populations[order], sds[order], n, costs=costs[order])

    def rows(*columns):  # equal strata are interchangeable
        return sorted(zip(*columns, strict=True))

    assert rows(populations, sds, costs, there) == rows(populations[order], sds[order], costs[order], shuffled)


@given(designs(), st.integers(0, 7), st.floats(1.0, 5.0))
def test_more_variance_never_means_fewer_samples(design, h, factor):
    populations, sds, costs, n = design
    h %= len(populations)
    assume(sds[h] > 0)
    before = neyman(populations, sds, n, costs=costs)
    sds = sds.copy()
    sds[h] *= factor
    assert neyman(populations, sds, n, costs=costs)[h] >= before[h]


@given(designs())
def test_one_more_query_takes_none_away(design):
    populations, sds, costs, n = design
    assume(n < populations.sum())
    assert (neyman(populations, sds, n + 1, costs=costs) >= neyman(populations, sds, n, costs=costs)).all()


@given(designs())
def test_integers_are_close_to_the_recursive_allocation_in_real_numbers(design):
    populations, sds, _, n = design
    assume((sds > 0).all())
    real = recursive_neyman(populations.astype(float), sds, n)
    assume((real >= 2).all())
    assert np.abs(neyman(populations, sds, n) - real).max() <= len(populations)


@given(
    st.lists(st.tuples(st.integers(2, 7), st.sampled_from([0.05, 0.1, 0.2, 0.5])), min_size=2, max_size=3), st.integers(0, 99)
)
def test_no_other_integers_have_less_variance(rows, extra):
    populations, sds = (np.array(column) for column in zip(*rows, strict=True))
    n = 2 * len(rows) + extra % int(populations.sum() - 2 * len(rows) + 1)
    all_of_them = [m for m in product(*(range(2, size + 1) for size in populations)) if sum(m) == n]
    best = min(stratified_se(populations, sds, m) for m in all_of_them)
    assert stratified_se(populations, sds, neyman(populations, sds, n)) == pytest.approx(best, rel=1e-12)


def test_seats_of_a_parliament_follow_equal_proportions():
    """Huntington-Hill, as the US House has it: 3 states of 7,270, 1,230 and 2,220 share 14 seats, by hand."""
    assert apportion([7270, 1230, 2220], 14, low=[1, 1, 1], high=[99, 99, 99]).tolist() == [9, 2, 3]


def test_many_strata_and_a_large_sample_still_sum():
    rng = np.random.default_rng(3)
    populations = rng.integers(2, 5000, 2000)
    sample = neyman(populations, rng.lognormal(-2, 1, 2000), 400_000)
    assert sample.sum() == 400_000
    assert ((sample >= 2) & (sample <= populations)).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([10, 10], None, 3), "a sample of 3 is too small: the minima of the 2 strata sum to 4"),
        (([10, 10], None, 21), "larger than the population of 20: sample 20 for a census"),
        (([10, 0], [0.0, 0.1], 21), "larger than the population of 10"),
        (([10, -1], None, 4), r"whole numbers, 0 or more; found \[10, -1\]"),
        (([10, 2.5], None, 4), "whole numbers"),
        (([], None, 4), "one a stratum"),
        (([10, 10], [0.1], 4), "expected one number for each of the 2 strata"),
        (([10, 10], [0.1, float("nan")], 4), "must be finite"),
    ],
)
def test_an_allocation_that_cannot_be_is_an_error(arguments, message):
    with pytest.raises(InputError, match=message):
        neyman(*arguments)


def test_a_cost_of_nothing_is_an_error():
    with pytest.raises(InputError, match="a cost is 0"):
        neyman([10, 10], None, 10, costs=[0, 1])


# --- standard errors and effects ------------------------------------------------------------------------------------


def test_the_stratified_standard_error_comes_out_by_hand():
    # weights 1/4 and 3/4; (1/16) 0.04/40 + (9/16) 0.01/60 = 0.0000625 + 0.00009375
    assert stratified_se([100, 300], [0.2, 0.1], [40, 60]) ** 2 == pytest.approx(0.00015625)
    # times 1 - 40/100 and 1 - 60/300 for a finite target
    assert stratified_se([100, 300], [0.2, 0.1], [40, 60], finite=True) ** 2 == pytest.approx(0.0000375 + 0.000075)


def test_a_census_is_certain_only_about_the_population_itself():
    assert stratified_se([5, 5], [0.2, 0.1], [5, 5], finite=True) == 0
    assert stratified_se([5, 5], [0.2, 0.1], [5, 5]) > 0


def test_a_stratum_nobody_sampled_has_no_standard_error():
    with pytest.raises(InputError, match="stratum 1 has no sampled queries"):
        stratified_se([5, 5], [0.2, 0.1], [5, 0])


def test_the_usual_mde_is_two_point_eight_standard_errors():
    assert mde(1.0) == pytest.approx(2.8016, abs=5e-5)


@pytest.mark.parametrize("power", [0.5, 0.8, 0.9, 0.99])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_the_test_finds_its_mde_with_its_power(level, power):
    from scipy.stats import norm

    effect = mde(0.3, level=level, power=power)
    assert norm.sf(norm.isf((1 - level) / 2) - effect / 0.3) == pytest.approx(power, abs=1e-12)


@pytest.mark.parametrize("power", [0.8, 0.95])
def test_mde_and_sample_size_agree_with_statsmodels(power):
    from statsmodels.stats.power import NormalIndPower

    oracle = NormalIndPower(ddof=0)  # ratio 0: one sample; "larger" at alpha / 2 leaves out the far tail, as we do

    def found(effect, n):
        return oracle.power(effect / 0.06, n, 0.025, ratio=0, alternative="larger")

    assert found(mde(0.06 / np.sqrt(400), power=power), 400) == pytest.approx(power, abs=1e-12)
    n = sample_size(0.06, 0.002, power=power)
    assert found(0.002, n - 1) < power <= found(0.002, n)


@given(st.floats(0.001, 10), st.floats(0.001, 10))
def test_the_sample_size_is_the_least_that_reaches_the_effect(sd, effect):
    assume(sd / effect < 1e5)
    n = sample_size(sd, effect)
    assert mde(sd / np.sqrt(n)) <= effect * (1 + 1e-9)
    if n > 2:
        assert mde(sd / np.sqrt(n - 1)) >= effect * (1 - 1e-9)


def test_one_stratum_needs_what_a_simple_random_sample_needs():
    assert stratified_sample_size([100_000], [0.06], 0.002) == sample_size(0.06, 0.002)


@given(designs(), st.floats(1.01, 3.0))
def test_the_stratified_sample_size_is_the_least_that_reaches_the_effect(design, factor):
    populations, sds, _, _ = design
    assume(sds.any())
    size, smallest = int(populations.sum()), 2 * len(populations)

    def reached(n):
        return mde(stratified_se(populations, sds, neyman(populations, sds, n)))

    effect = reached(size) * factor
    n = stratified_sample_size(populations, sds, effect)
    assert reached(n) <= effect
    assert n == smallest or reached(n - 1) > effect


def test_an_effect_that_a_census_cannot_see_is_out_of_reach():
    with pytest.raises(InputError, match=r"judging all 100 queries has an MDE of 0\.02802"):
        stratified_sample_size([100], [0.1], 0.001)


def test_a_relative_effect_needs_a_level_above_zero():
    assert relative_mde(0.002, 0.7) == pytest.approx(mde(0.002) / 0.7)
    with pytest.raises(InputError, match="needs a mean above 0"):
        relative_mde(0.002, 0.0)


@pytest.mark.parametrize(
    "call",
    [
        lambda: mde(float("nan")),
        lambda: mde(-0.1),
        lambda: mde(0.1, level=1.0),
        lambda: mde(0.1, power=0.0),
        lambda: mde(0.1, power=0.01),
        lambda: sample_size(0.1, 0.0),
        lambda: sample_size(float("inf"), 0.1),
    ],
)
def test_an_effect_of_nothing_sensible_is_an_error(call):
    with pytest.raises(InputError):
        call()


# --- noisy pilots ---------------------------------------------------------------------------------------------------


def test_a_pilot_is_pulled_to_the_pooled_sd_by_hand():
    # pooled variance (10 x 0.01 + 10 x 0.09) / 20 = 0.05; with strength 10: (0.1 + 0.5) / 20 and (0.9 + 0.5) / 20
    assert shrunken_sd([0.1, 0.3], [11, 11], strength=10) ** 2 == pytest.approx([0.03, 0.07])


def test_without_strength_a_pilot_is_taken_at_its_word():
    assert shrunken_sd([0.1, 0.3], [11, 4], strength=0) == pytest.approx([0.1, 0.3])


def test_a_stratum_whose_differences_were_all_zero_by_luck_still_gets_queries():
    sds = shrunken_sd([0.0, 0.1], [5, 50])
    assert sds[0] > 0.05
    assert neyman([500, 500], sds, 100)[0] > 20


def test_one_pilot_query_says_nothing_about_variance():
    one = shrunken_sd([float("nan"), 0.1], [1, 50])
    assert one == pytest.approx([0.1, 0.1])
    with pytest.raises(InputError, match="no stratum of the pilot has two queries"):
        shrunken_sd([0.1, 0.1], [1, 1])


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(2, 50)), min_size=1, max_size=6), st.floats(0.1, 100))
def test_shrinking_stays_between_the_pilot_and_the_pool(rows, strength):
    sds, counts = (np.array(column) for column in zip(*rows, strict=True))
    pooled = np.sqrt(((counts - 1) * sds**2).sum() / (counts - 1).sum())
    shrunken = shrunken_sd(sds, counts, strength=strength)
    assert (shrunken >= np.minimum(sds, pooled) - 1e-9).all()
    assert (shrunken <= np.maximum(sds, pooled) + 1e-9).all()


@pytest.mark.simulation
def test_neyman_has_the_variance_it_promises(repetitions):
    """Means of repeated draws from normal strata. Monte Carlo tolerance of an SD: 4 / sqrt(2 n), 0.09 at 1,000."""
    rounds = repetitions(reduced=1000, whole=10_000)
    populations, means, sds = np.array([1000, 9000]), np.array([0.02, 0.0]), np.array([0.3, 0.05])
    sample = neyman(populations, sds, 300)
    rng = np.random.default_rng(11)
    strata = [rng.normal(m, s, (rounds, k)).mean(axis=1) for m, s, k in zip(means, sds, sample, strict=True)]
    thetas = (populations / populations.sum()) @ np.array(strata)
    assert thetas.std(ddof=1) / stratified_se(populations, sds, sample) == pytest.approx(1, abs=4 / np.sqrt(2 * rounds))
