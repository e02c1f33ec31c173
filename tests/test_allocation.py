"""How a sample is divided: by hand, against brute force and the textbook in real numbers, and as properties."""

from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from germane.stats.allocation import (
    apportion,
    design_effect,
    floors_met,
    kish_effect,
    least_for_floors,
    neyman,
    power_allocation,
    shrunken_sd,
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


@settings(max_examples=40)
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


@settings(max_examples=40)
@given(designs(), st.integers(0, 7), st.floats(1.0, 5.0))
def test_more_variance_never_means_fewer_samples(design, h, factor):
    populations, sds, costs, n = design
    h %= len(populations)
    assume(sds[h] > 0)
    before = neyman(populations, sds, n, costs=costs)
    sds = sds.copy()
    sds[h] *= factor
    assert neyman(populations, sds, n, costs=costs)[h] >= before[h]


@settings(max_examples=40)
@given(designs())
def test_one_more_query_takes_none_away(design):
    populations, sds, costs, n = design
    assume(n < populations.sum())
    assert (neyman(populations, sds, n + 1, costs=costs) >= neyman(populations, sds, n, costs=costs)).all()


@settings(max_examples=40)
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


# --- what a division costs --------------------------------------------------------------------------------------------


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


def test_a_mean_over_traffic_has_the_weights_of_traffic():
    # weights 3/4 and 1/4 although the second stratum holds most queries
    assert stratified_se([100, 300], [0.2, 0.1], [40, 60], weights=[3, 1]) ** 2 == pytest.approx(9 / 16 * 0.001 + 1 / 16 / 6000)
    assert neyman([100, 300], [0.1, 0.1], 40, weights=[3, 1]).tolist() == [30, 10]


def test_kish_counts_what_unequal_weights_waste():
    assert kish_effect([2.0] * 7) == pytest.approx(1)
    assert kish_effect([1] * 9 + [0]) == pytest.approx(10 / 9)
    # 1 + cv^2 of the weights
    weights = np.array([1.0, 1.0, 2.0, 4.0])
    assert kish_effect(weights) == pytest.approx(1 + (weights.std() / weights.mean()) ** 2)


@given(designs())
def test_a_proportional_sample_has_no_design_effect_where_strata_are_alike(design):
    populations, sds, _, _ = design
    assume((sds > 0).any())
    assert design_effect(populations, sds, populations) == pytest.approx(1)
    assert design_effect(populations, sds, neyman(populations, sds, max(int(populations.sum()) // 2, 2 * len(sds)))) > 0


def test_strata_that_lie_apart_gain_what_lies_between_them():
    # a tenth of the variance is inside: SD 1, means 0 and 6 in two halves, 1 + 9 in all
    assert design_effect([50, 50], [1, 1], [10, 10], means=[0, 6]) == pytest.approx(0.1)


def test_a_sample_turned_to_small_strata_costs_variance():
    # shares 0.1 and 0.9, half of the sample each: 0.01 / 5 + 0.81 / 5 against 1 / 10
    assert design_effect([10, 90], [1, 1], [5, 5]) == pytest.approx(1.64)
    # the same strata by traffic, 0.9 and 0.1: 0.81 / 5 + 0.01 / 5
    assert design_effect([10, 90], [1, 1], [5, 5], weights=[0.5, 0.5]) == pytest.approx(1.0)


@pytest.mark.simulation
def test_the_design_effect_is_the_ratio_of_two_simulated_variances(repetitions):
    """Normal strata with means apart. Monte Carlo tolerance of a ratio of two variances: 4 sqrt(4 / rounds)."""
    rounds = repetitions(reduced=4000, whole=40_000)
    rng = np.random.default_rng(5)
    share, means, sds, sample = np.array([0.2, 0.8]), np.array([0.1, 0.0]), np.array([0.3, 0.1]), np.array([12, 28])
    strata = [rng.normal(m, s, (rounds, k)).mean(axis=1) for m, s, k in zip(means, sds, sample, strict=True)]
    which = rng.random((rounds, 40)) < 0.2
    simple = np.where(which, rng.normal(0.1, 0.3, (rounds, 40)), rng.normal(0.0, 0.1, (rounds, 40))).mean(axis=1)
    found = (share @ np.array(strata)).var(ddof=1) / simple.var(ddof=1)
    expected = design_effect([200, 800], sds, sample, means=means)
    assert found / expected == pytest.approx(1, abs=4 * np.sqrt(4 / rounds))


# --- power allocation -----------------------------------------------------------------------------------------------


def test_power_allocation_lies_between_neyman_and_equal_precision():
    populations, sds = [100, 1600, 6400], [0.1, 0.1, 0.2]
    assert power_allocation(populations, sds, 300, exponent=1).tolist() == neyman(populations, sds, 300).tolist()
    # square roots 10, 40, 80; times SDs 1 : 4 : 16, of 210
    assert power_allocation(populations, sds, 210).tolist() == [10, 40, 160]
    assert power_allocation(populations, sds, 80, exponent=0).tolist() == [20, 20, 40]
    assert power_allocation(populations, sds, 80, exponent=0, minimum=25).tolist() == [25, 25, 30]
    assert power_allocation([10, 10], None, 8, weights=[9, 1]).tolist() == [6, 2]
    with pytest.raises(InputError, match=r"an exponent of 1\.5"):
        power_allocation(populations, sds, 80, exponent=1.5)


# --- floors of reported segments ------------------------------------------------------------------------------------


def test_a_reported_segment_gets_its_floor_over_its_strata():
    """Head is strata 0 and 1 and gets 30, divided there as Neyman would; the rest goes where it is worth most."""
    populations, sds = [100, 200, 9000, 9000], [0.1, 0.1, 0.1, 0.1]
    shares = np.array(populations) * 0.1
    low = floors_met(shares, [([0, 1], 30)], low=[2] * 4, high=populations)
    assert low.tolist() == [10, 20, 2, 2]
    assert neyman(populations, sds, 230, minimum=low).tolist() == [10, 20, 100, 100]


def test_a_floor_that_is_met_anyway_changes_nothing():
    populations = [100, 900]
    low = floors_met([100, 900], [([0], 5)], low=[2, 2], high=populations)
    assert neyman(populations, None, 100, minimum=low).tolist() == neyman(populations, None, 100).tolist() == [10, 90]


@given(
    st.lists(st.tuples(st.integers(2, 6), st.sampled_from([0.05, 0.1, 0.2, 0.5])), min_size=3, max_size=4),
    st.integers(0, 99),
    st.integers(0, 12),
)
def test_no_other_integers_with_these_floors_have_less_variance(rows, extra, floor):
    populations, sds = (np.array(column) for column in zip(*rows, strict=True))
    floor = min(floor, int(populations[:2].sum()))
    low = floors_met(populations * sds, [([0, 1], floor)], low=[2] * len(rows), high=populations)
    n = int(low.sum()) + extra % int(populations.sum() - low.sum() + 1)
    sample = neyman(populations, sds, n, minimum=low)
    assert sample.sum() == n
    assert sample[:2].sum() >= floor
    all_of_them = [m for m in product(*(range(2, s + 1) for s in populations)) if sum(m) == n and sum(m[:2]) >= floor]
    best = min(stratified_se(populations, sds, m) for m in all_of_them)
    assert stratified_se(populations, sds, sample) == pytest.approx(best, rel=1e-12)


@settings(max_examples=40)
@given(st.lists(st.integers(4, 40), min_size=4, max_size=4), st.lists(st.integers(0, 30), min_size=4, max_size=4))
def test_crossed_segments_all_have_their_floors_and_the_least_sample_is_found(populations, asked):
    """Strata 0 to 3 as a table of two interests by two segments."""
    groups = [[0, 1], [2, 3], [0, 2], [1, 3]]
    floors = [(g, min(f, sum(populations[i] for i in g))) for g, f in zip(groups, asked, strict=True)]
    met = floors_met(populations, floors, low=[2] * 4, high=populations)
    least = least_for_floors(floors, low=[2] * 4, high=populations)
    for sample in (met, least):
        assert all(sample[g].sum() >= f for g, f in floors)
        assert (sample >= 2).all()
        assert (sample <= populations).all()
    assert least.sum() <= met.sum()
    # by linear programming duality a table needs at least its rows, and its columns
    assert least.sum() >= max(sum(max(f, 4) for _, f in floors[:2]), sum(max(f, 4) for _, f in floors[2:]))


def test_a_floor_above_what_there_is_is_an_error():
    with pytest.raises(InputError, match="a floor of 31 is above the 30 queries that its segment has"):
        floors_met([1, 1], [([0], 31)], low=[2, 2], high=[30, 50])
    with pytest.raises(InputError, match="no sample meets all floors"):
        least_for_floors([([0], 31)], low=[2, 2], high=[30, 50])
    assert least_for_floors([], low=[2, 2], high=[30, 50]).tolist() == [2, 2]


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
