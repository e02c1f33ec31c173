"""Routing: what a cut accepts, what it is worth, how few labels keep a promise; by hand, as properties, and by simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score, f1_score, roc_auc_score

from germane.stats import agreement, clustered
from germane.stats.clustered import Undefined
from germane.stats.ranks import auc
from germane.stats.routing import Golden, at_random, blurred, cut_at, cuts, entropy, fewest, left_votes, parts, quality
from germane.types import Estimate, InputError

MEASURES = ("exact", "within-one", "quadratic kappa", "macro F1")


def golden(n=400, queries=40, seed=0, levels=3, right=0.9, **more):
    """Golden pairs of grades 0 to 3 of a judge that errs more where it is less sure; level 0 is the surest."""
    rng = np.random.default_rng(seed)
    gold, level = rng.integers(0, 4, n), rng.integers(0, levels, n)
    off = rng.random(n) > right - 0.2 * level
    other = np.where(off, (gold + rng.integers(1, 4, n)) % 4, gold)
    return Golden(gold, other, level, blurred(gold, more.pop("people", 1.0), 4), np.arange(n) % queries, **more)


# --- cuts ---------------------------------------------------------------------------------------------------------------

counted = st.lists(st.integers(0, 50), min_size=1, max_size=8).filter(any)


@given(counted, st.integers(0, 20), st.integers(1, 30))
def test_cuts_go_from_all_to_people_to_none_and_hold_every_pair_once(counts, unanswered, steps):
    found = cuts(counts, unanswered, steps=steps)
    labels = [cut.labels for cut in found]
    assert labels == sorted(labels, reverse=True)
    assert (labels[0], labels[-1]) == (sum(counts) + unanswered, unanswered)
    for cut in found:
        assert cut.accepted + cut.labels == sum(counts) + unanswered
        assert sum(counts[: cut.level]) + cut.part * counts[cut.level] == pytest.approx(cut.accepted)
        assert 0 <= cut.part <= 1


@given(counted, st.data())
def test_a_cut_at_the_end_of_a_level_accepts_the_whole_level(counts, data):
    level = data.draw(st.sampled_from([at for at, count in enumerate(counts) if count]))
    cut = cut_at(counts, 0, sum(counts[: level + 1]))
    assert (cut.level, cut.part) == (level if any(counts[level + 1 :]) else len(counts) - 1, 1.0)


def test_few_levels_are_cut_at_each_of_their_ends_and_many_at_even_shares():
    assert {0, 7, 10, 100} <= {cut.accepted for cut in cuts([7, 3, 90], 0, steps=4)}
    assert [cut.accepted for cut in cuts([1] * 1000, 0, steps=4)] == [0, 250, 500, 750, 1000]


def test_where_nothing_was_answered_everything_goes_to_people():
    assert [(cut.accepted, cut.labels) for cut in cuts([], 9)] == [(0, 9)]


# --- what people say ----------------------------------------------------------------------------------------------------


def test_people_who_are_right_four_times_in_five_are_else_off_by_one():
    assert blurred([0, 3], 0.8, 4) == pytest.approx(np.array([[0.8, 0.2, 0, 0], [0, 0, 0.2, 0.8]]))
    assert blurred([1], 1.0, 2).tolist() == [[0.0, 1.0]]
    with pytest.raises(InputError, match="accuracy is 0"):
        blurred([0], 0, 2)


def test_the_vote_that_made_gold_is_left_out_of_what_one_more_person_would_say():
    nan = np.nan
    votes = [[1, 1, 0], [1, 1, 1], [1, nan, nan], [2, nan, nan]]
    found = left_votes([1, 1, 1, 2], votes, 3)
    assert found[0].tolist() == [0.5, 0.5, 0.0]
    assert found[1].tolist() == [0.0, 1.0, 0.0]
    assert found[2].tolist() == [0.25, 0.75, 0.0]  # one vote: the average of its grade
    assert found[3].tolist() == [0.0, 0.0, 1.0]  # nobody knows of this grade
    with pytest.raises(InputError, match="no golden pair has two people's grades"):
        left_votes([1], [[1, nan]], 2)


def test_entropy_is_in_bits_and_unknown_where_probabilities_are():
    found = entropy([[0.25] * 4, [1, 0, 0, 0], [np.nan] * 4])
    assert found[:2].tolist() == [2.0, 0.0]
    assert np.isnan(found[2])


# --- what a cut is worth ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("measure", MEASURES)
def test_with_nothing_sent_the_quality_is_the_judge_s_own(measure):
    pairs = golden()
    own = {
        "exact": agreement.exact_agreement,
        "within-one": agreement.agreement_within,
        "quadratic kappa": lambda a, b, **o: agreement.cohen_kappa(a, b, distance="quadratic", **o),
        "macro F1": agreement.macro_f1,
    }[measure]
    found = quality(pairs, cut_at([10, 10, 10], 0, 30), measure=measure)
    known = own(pairs.gold, pairs.other, clusters=pairs.query)
    assert (found.value, found.se) == pytest.approx((known.value, known.se))
    assert (found.low, found.high) == pytest.approx((known.low, known.high))


@pytest.mark.parametrize("measure", MEASURES)
def test_with_all_sent_to_people_who_make_gold_the_quality_is_one_and_known(measure):
    found = quality(golden(), cut_at([10, 10, 10], 5, 0), measure=measure)
    assert (found.value, found.low, found.high) == pytest.approx((1.0, 1.0, 1.0))


def test_by_hand_an_accepted_level_and_people_on_the_rest():
    """Level 0: 3 of 4 right; level 1 goes to people, right in 9 of 10. The table has 60 pairs of level 0 and 40 of level 1."""
    gold, other = np.array([0, 1, 2, 3, 0, 1]), np.array([0, 1, 2, 2, 3, 1])
    pairs = Golden(gold, other, np.array([0, 0, 0, 0, 1, 1]), blurred(gold, 0.9, 4), np.array([0, 1, 2, 3, 0, 1]))
    found = quality(pairs, cut_at([60, 40], 0, 60))
    assert found.value == pytest.approx(0.6 * 0.75 + 0.4 * 0.9)
    accepted = clustered.share([True, True, True, False], clusters=[0, 1, 2, 3])
    assert found.low == pytest.approx(0.6 * accepted.low + 0.4 * 0.9)
    assert found.se == pytest.approx(0.6 * accepted.se)


def test_a_level_that_is_divided_is_the_weighted_mean_of_both_ways():
    pairs = golden()
    halves = [quality(pairs, cut_at([100, 100, 100], 0, n)).value for n in (100, 150, 200)]
    assert halves[1] == pytest.approx((halves[0] + halves[2]) / 2, abs=0.02)
    accuracy = [np.mean(pairs.gold[pairs.level == at] == pairs.other[pairs.level == at]) for at in (0, 1)]
    n = [np.sum(pairs.level == at) for at in (0, 1)]
    mixed = (n[0] * accuracy[0] + 0.5 * n[1] * accuracy[1]) / (n[0] + 0.5 * n[1])
    assert halves[1] == pytest.approx(0.5 * mixed + 0.5)


@pytest.mark.parametrize("measure", ["quadratic kappa", "macro F1"])
def test_the_mixture_s_kappa_and_f1_are_those_of_its_labels(measure):
    """Where the golden pairs are the table, the mixture is one list of labels, and scikit-learn's statistic of it is ours."""
    pairs = golden(n=300)
    sizes = np.bincount(pairs.level)
    found = quality(pairs, cut_at(sizes, 0, int(sizes[:2].sum())), measure=measure)
    final = np.where(pairs.level <= 1, pairs.other, pairs.gold)
    theirs = cohen_kappa_score(pairs.gold, final, weights="quadratic") if "kappa" in measure else None
    assert found.value == pytest.approx(theirs if theirs is not None else f1_score(pairs.gold, final, average="macro"))


@pytest.mark.parametrize("measure", MEASURES)
def test_weights_count_a_pair_as_often_as_it_stands_for(measure):
    pairs = golden(n=120)
    twice = Golden(*(np.concatenate([part, part]) for part in pairs[:5]))
    weighted = pairs._replace(weights=np.full(120, 2.0))
    cut = cut_at([10, 10, 10], 0, 20)
    assert quality(weighted, cut, measure=measure).value == pytest.approx(quality(twice, cut, measure=measure).value)
    heavy = pairs._replace(weights=np.where(pairs.level == 0, 1.0, 3.0))
    assert quality(heavy, cut, measure=measure).value != pytest.approx(quality(pairs, cut, measure=measure).value)


@pytest.mark.parametrize("measure", MEASURES)
@given(seed=st.integers(0, 1000), accepted=st.integers(1, 30), people=st.sampled_from([1.0, 0.8]))
@settings(max_examples=15)
def test_row_order_changes_nothing_and_limits_hold_the_value(measure, seed, accepted, people):
    pairs, cut = golden(n=90, queries=12, seed=seed, people=people), cut_at([10, 10, 10], 3, accepted)
    order = np.random.default_rng(seed).permutation(90)
    found = quality(pairs, cut, measure=measure)
    again = quality(Golden(*(part[order] for part in pairs[:5])), cut, measure=measure)
    assert (again.value, again.low, again.high) == pytest.approx((found.value, found.low, found.high))
    assert -1 <= found.low <= found.value + 1e-12
    assert found.value <= found.high + 1e-12 <= 1 + 2e-12


@given(st.integers(0, 1000))
@settings(max_examples=15)
def test_random_sending_lies_on_the_line_between_the_judge_alone_and_people(seed):
    pairs = golden(seed=seed)
    ends = [at_random(pairs, cut_at([10, 10, 10], 0, n)).value for n in (0, 30)]
    assert at_random(pairs, cut_at([10, 10, 10], 0, 12)).value == pytest.approx(0.6 * ends[0] + 0.4 * ends[1])


def test_raters_of_hard_pairs_are_unsure_too_and_the_interval_knows():
    """People's own errors vary by query: the interval is wider than with people of a fixed accuracy."""
    pairs = golden()
    hard = pairs._replace(
        people=np.where((pairs.query % 2 == 0)[:, None], blurred(pairs.gold, 0.6, 4), blurred(pairs.gold, 1.0, 4))
    )
    cut = cut_at([10, 10, 10], 0, 10)
    varied, fixed = quality(hard, cut), quality(pairs._replace(people=blurred(pairs.gold, 0.8, 4)), cut)
    assert varied.value == pytest.approx(fixed.value, abs=0.01)
    assert varied.se > fixed.se
    assert varied.high - varied.low > fixed.high - fixed.low


def test_pairs_without_an_answer_are_sent_whatever_stands_in_their_place():
    pairs = golden()
    level = np.where(np.arange(400) % 5 == 0, -1, pairs.level)
    there, other = (pairs._replace(level=level, other=np.where(level < 0, grade, pairs.other)) for grade in (-1, 3))
    for measure in MEASURES:
        assert quality(there, cut_at([9, 9, 9], 4, 20), measure=measure) == quality(
            other, cut_at([9, 9, 9], 4, 20), measure=measure
        )


def test_a_part_that_fewer_than_two_golden_queries_show_has_no_quality():
    pairs = golden()
    assert quality(pairs._replace(level=np.where(pairs.query == 0, 0, 1)), cut_at([5, 5], 0, 5)) is None


def test_an_unknown_measure_is_named():
    with pytest.raises(InputError, match="measure 'nDCG'"):
        quality(golden(), cut_at([1, 1, 1], 0, 1), measure="nDCG")


def test_statistics_of_the_two_parts_are_those_of_their_pairs():
    pairs, cut = golden(), cut_at([10, 10, 10], 0, 10)
    kinds = [("exact", agreement.exact_agreement, {}), ("precision of 9", agreement.precision, {"grade": 9})]
    kept = pairs.accepted(cut)
    found = parts(pairs, kept, kinds, level=0.9)
    rows = pairs.level == 0
    assert found == {
        "exact": agreement.exact_agreement(pairs.gold[rows], pairs.other[rows], clusters=pairs.query[rows], level=0.9)
    }
    assert parts(pairs, 1 - kept, kinds, level=0.9)["exact"].n == 400 - rows.sum()


# --- the fewest labels --------------------------------------------------------------------------------------------------


def steady(low):
    return Estimate(low, 0.0, low, low, 100, "given")


def test_the_search_stops_at_the_first_cut_that_misses_the_target():
    """A later cut that happens to pass is not taken: it was not tested."""
    lows = {10: 1.0, 8: 0.9, 6: 0.86, 4: 0.84, 2: 0.99, 0: 0.99}
    choices = [cut for cut in cuts([10], 0, steps=5)]
    cut, found = fewest(choices, 0.85, lambda cut: steady(lows[cut.labels]))
    assert (cut.labels, found.low) == (6, 0.86)


def test_cuts_that_no_golden_pair_speaks_of_are_passed_over():
    lows = {10: 1.0, 8: None, 6: 0.9, 4: 0.8, 2: 0.8, 0: 0.8}
    cut, _ = fewest(cuts([10], 0, steps=5), 0.85, lambda cut: None if lows[cut.labels] is None else steady(lows[cut.labels]))
    assert cut.labels == 6


def test_where_people_alone_miss_the_target_only_a_judge_that_is_better_alone_will_do():
    lows = {10: 0.8, 5: 0.99, 0: 0.9}
    assert fewest(cuts([10], 0, steps=2), 0.85, lambda cut: steady(lows[cut.labels]))[0].labels == 0
    assert fewest(cuts([10], 0, steps=2), 0.95, lambda cut: steady(lows[cut.labels])) is None


@given(st.floats(0.5, 0.99), st.floats(0.5, 0.99))
@settings(max_examples=20)
def test_a_higher_target_never_needs_fewer_labels(one, two):
    pairs, choices = golden(n=200), cuts([30, 30, 30], 0, steps=10)
    few, many = (fewest(choices, target, lambda cut: quality(pairs, cut))[0].labels for target in sorted((one, two)))
    assert few <= many


# --- does the signal tell errors? ---------------------------------------------------------------------------------------


def test_the_area_under_the_curve_is_scikit_learn_s_with_ties_and_weights():
    rng = np.random.default_rng(1)
    x, q, w = rng.integers(0, 6, 300) / 6, rng.integers(0, 30, 300), rng.random(300) + 0.5
    event = rng.random(300) < 0.2 + 0.5 * x
    found = auc(x, event, clusters=q, weights=w)
    assert found.value == pytest.approx(roc_auc_score(event, x, sample_weight=w))
    left = np.array([roc_auc_score(event[q != c], x[q != c], sample_weight=w[q != c]) for c in range(30)])
    assert found.se == pytest.approx(np.sqrt(29 / 30 * ((left - found.value) ** 2).sum()))
    assert auc(x, event).value == pytest.approx(roc_auc_score(event, x))


@given(st.integers(0, 500))
@settings(max_examples=20)
def test_the_area_of_the_other_way_round_is_what_is_left_to_one(seed):
    rng = np.random.default_rng(seed)
    x, event, q = rng.integers(0, 9, 80), rng.random(80) < 0.5, rng.integers(0, 10, 80)
    there, back = auc(x, event, clusters=q), auc(-x, event, clusters=q)
    assert back.value == pytest.approx(1 - there.value)
    assert (back.low, back.high) == pytest.approx((1 - there.high, 1 - there.low))
    assert auc(x * 3 + 1, event, clusters=q).value == pytest.approx(there.value)


def test_without_an_error_nothing_can_be_told():
    with pytest.raises(Undefined, match="0 of 3 rows"):
        auc([1, 2, 3], [False] * 3)
    with pytest.raises(InputError, match="one finite number each"):
        auc([1, np.nan], [True, False])


# --- the promise --------------------------------------------------------------------------------------------------------


def world(queries, rng, mean, between, within):
    """A judge of two grades, asked five times: some pairs and some queries are harder, and a harder one divides its answers.

    Returns (query, right, level); level 0: all five agree, 1: four, 2: three.
    """
    ease = rng.normal(mean, between, queries)[:, None] + rng.normal(0.0, within, (queries, 10))
    votes = rng.binomial(5, 1 / (1 + np.exp(-ease)))
    level = np.minimum(votes, 5 - votes)
    return np.repeat(np.arange(queries), 10), (votes >= 3).ravel(), level.ravel()


def sampled(query, right, level, drawn):
    rows = np.isin(query, drawn)
    gold = np.zeros(rows.sum(), int)
    return Golden(gold, np.where(right[rows], 0, 1), level[rows], blurred(gold, 1.0, 2), query[rows])


@pytest.mark.simulation
@pytest.mark.parametrize(
    ("hard", "target", "exactly"),
    [((1.6, 0.8, 1.2), 0.9, True), ((2.2, 1.2, 0.6), 0.98, False)],
    ids=["common errors", "rare errors in few queries"],
)
def test_intervals_hold_the_truth_and_the_promised_quality_is_kept(repetitions, hard, target, exactly):
    """Golden sets of 60 queries from a table of 4,000, of known truth. Stated: each interval holds it in 95 %, and the chosen
    cut misses its target in at most 2.5 % (the low end of a 95 % interval). Monte Carlo tolerance: 4 sqrt(p (1 - p) / R).
    Where errors are rare and lie in few queries, intervals are wide rather than narrow."""
    runs, rng = repetitions(reduced=120, whole=4000), np.random.default_rng(11)
    query, right, level = world(4000, rng, *hard)
    counts = np.bincount(level, minlength=3)
    choices, middle = cuts(counts, 0, steps=25), cut_at(counts, 0, int(0.8 * counts.sum()))
    accuracy = np.array([right[level == at].mean() for at in range(3)])

    def truth(cut):
        kept = np.where(np.arange(3) < cut.level, 1.0, np.where(np.arange(3) == cut.level, cut.part, 0.0)) * counts
        return float((kept * accuracy).sum() + cut.labels) / counts.sum()

    tells = roc_auc_score(~right, level)
    held, told, missed, naive, labels = 0, 0, 0, 0, []
    for _ in range(runs):
        pairs = sampled(query, right, level, rng.choice(4000, 60, replace=False))
        found = quality(pairs, middle)
        held += found.low <= truth(middle) <= found.high
        area = auc(pairs.level, pairs.other != pairs.gold, clusters=pairs.query)
        told += area.low <= tells <= area.high
        cut, _ = fewest(choices, target, lambda cut, pairs=pairs: quality(pairs, cut))
        missed += truth(cut) < target
        labels.append(cut.labels / counts.sum())
        by_value = min(
            (cut for cut in choices[1:] if (e := quality(pairs, cut)) and e.value >= target), key=lambda cut: cut.labels
        )
        naive += truth(by_value) < target
    best = min(cut.labels for cut in choices if truth(cut) >= target) / counts.sum()
    print(f"interval {held / runs:.3f}, area {told / runs:.3f}; missed {missed / runs:.3f}, by the value {naive / runs:.3f}")
    print(f"labels: {np.mean(labels):.3f} of the table on average, {best:.3f} if the truth were known; area {tells:.3f}")
    tolerance = 4 * np.sqrt(0.95 * 0.05 / runs)
    assert held / runs >= 0.95 - tolerance
    assert not exactly or held / runs <= 0.95 + tolerance
    assert told / runs == pytest.approx(0.95, abs=tolerance)
    assert missed / runs <= 0.025 + 4 * np.sqrt(0.025 * 0.975 / runs)
    assert naive / runs > 0.2  # what the low end is for
    assert best < np.mean(labels) < 1
