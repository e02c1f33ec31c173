"""The filter: which results go, which never do, and whether the precision that was asked for is kept."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_signals import ESCI, World

from germane.signal import evidence, thresholds
from germane.signal.deciding import Decisions, order, within
from germane.signal.filter import Filter, Rule, badness
from germane.types import InputError

PLAIN = Filter((Rule(0, 0.9, {"": 0.7, "tail": None, "head": 0.5}),), 4, floor=0, labels=ESCI.labels)


def decide(made, bad, *, segment="", known=None, gain=None):
    """The decisions on documents with P(I) = bad, the rest of the probability on E."""
    p = np.zeros((len(bad), 4))
    p[:, 0], p[:, 3] = bad, 1 - np.asarray(bad)
    known = np.ones(len(bad), bool) if known is None else known
    return made.decide(segment=segment, probs=p, gain=p[:, 3] if gain is None else gain, known=known)


def test_a_result_goes_from_the_threshold_of_its_segment_on():
    assert decide(PLAIN, [0.7, 0.69, 0.1]).keep.tolist() == [False, True, True]
    assert decide(PLAIN, [0.7, 0.5, 0.1], segment="head").keep.tolist() == [False, False, True]
    assert decide(PLAIN, [1.0, 0.9], segment="tail").keep.all()
    assert decide(PLAIN, [0.7, 0.5], segment="a name that nobody chose for").keep.tolist() == [False, True]


def test_a_reason_is_given_for_what_goes_and_nothing_is_said_of_the_rest():
    assert decide(PLAIN, [0.8, 0.2]).reason == ("P(I) at least 0.700", "")


def test_a_result_without_a_prediction_never_goes():
    assert decide(PLAIN, [1.0, 1.0], known=[False, True]).keep.tolist() == [True, False]
    assert decide(PLAIN, [np.nan, 1.0]).keep.tolist() == [True, False]  # what is no number is not known


def test_the_floor_brings_the_best_of_the_worst_back_the_first_of_equals_first():
    made = Filter(PLAIN.rules, 4, floor=2, labels=ESCI.labels)
    said = decide(made, [0.9, 0.8, 0.9, 0.8])
    assert said.keep.tolist() == [False, True, False, True]
    assert said.reason[1].startswith("kept, since 2 results are left at least: P(I)")
    assert decide(made, [0.9, 0.9, 0.9, 0.9]).keep.tolist() == [True, True, False, False]
    assert decide(made, [0.9]).keep.all()


def test_several_rules_are_each_enough():
    made = Filter((Rule(0, 0.9, {"": 0.9}), Rule(1, 0.9, {"": 0.8})), 4, labels=ESCI.labels)
    probs = [[0.5, 0.4, 0.1, 0.0], [0.95, 0.0, 0.0, 0.05], [0.5, 0.1, 0.2, 0.2]]
    said = made.decide(segment="", probs=probs, gain=[0, 0, 0], known=[True] * 3)
    assert said.keep.tolist() == [False, False, True]
    assert said.reason[0] == "P(C or worse) at least 0.800"


@pytest.mark.parametrize(
    ("probs", "gain", "known"), [(np.zeros((2, 3)), [0, 0], [1, 1]), (np.zeros((2, 4)), [0], [1, 1]), (np.zeros(4), [0], [1])]
)
def test_shapes_that_do_not_fit_are_an_error(probs, gain, known):
    with pytest.raises(InputError, match="probabilities of shape"):
        PLAIN.decide(segment="", probs=probs, gain=gain, known=known)


def test_no_documents_are_no_decisions():
    said = PLAIN.decide(segment="", probs=[], gain=[], known=[])
    assert (said.keep.size, said.reason) == (0, ())


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=30), st.integers(0, 12))
def test_the_floor_holds_unknown_results_stay_and_the_order_is_the_ranker_s(rows, floor):
    bad, known = [b for b, _ in rows], np.array([k for _, k in rows], bool)
    made = Filter(PLAIN.rules, 4, floor=floor, labels=ESCI.labels)
    said = decide(made, bad, known=known) if rows else PLAIN.decide(segment="", probs=[], gain=[], known=[])
    assert said.keep.sum() >= min(floor, len(rows))
    assert said.keep[~known].all()
    left = order(-np.arange(len(rows), dtype=float), said)
    assert left.tolist() == np.flatnonzero(said.keep).tolist()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0, 1), st.floats(0, 1))
def test_a_higher_threshold_never_lets_more_go(bad, one, two):
    low, high = sorted((one, two))
    strict = decide(Filter((Rule(0, 0.9, {"": high}),), 4), bad)
    loose = decide(Filter((Rule(0, 0.9, {"": low}),), 4), bad)
    assert not (loose.keep & ~strict.keep).any()


# --- choosing -----------------------------------------------------------------------------------------------------------


def golden(world, **more):
    table = world.judgments()
    return evidence.evidence(world.people(), table, table, ESCI, segments=world.segment, **more)[0]


def wanted(**more):
    return thresholds.Wanted(**({"precisions": ((0, 0.9),), "relevant": 3} | more))


def test_the_precision_asked_for_is_kept_and_more_precision_removes_less():
    found = [thresholds.choose(golden(World(120)), wanted(precisions=((0, p),)), ESCI.labels) for p in (0.8, 0.9)]
    shares = [f.found["removed"].value for f in found]
    assert shares[0] > shares[1] > 0.05
    for f, target in zip(found, (0.8, 0.9), strict=True):
        assert f.steps[0].precision.low >= target
        assert f.found["precision"].value > target
        assert f.found["bad after"].value < f.found["bad before"].value
        assert f.found["relevant lost"].value < 0.02


def test_the_lower_end_asks_for_more_than_the_share_that_was_found():
    by_bound = thresholds.choose(golden(World(60)), wanted(), ESCI.labels).steps[0].threshold
    by_share = thresholds.choose(golden(World(60)), wanted(bound=False), ESCI.labels).steps[0].threshold
    assert by_share < by_bound


def test_what_cannot_be_shown_removes_nothing_and_says_so():
    found = thresholds.choose(golden(World(30, noise=5.0)), wanted(), ESCI.labels)
    assert found.steps[0].threshold is None
    assert found.notes[0].startswith("no threshold is shown to reach the precision")
    assert decide(found.filter, [1.0]).keep.all()


def test_a_thin_segment_takes_the_threshold_of_all_queries_and_says_so():
    world = World(60)
    world.segment = {q: ("few" if q in ("q000", "q001") else "many") for q in world.segment}
    found = thresholds.choose(golden(world), wanted(), ESCI.labels)
    assert "few" not in found.filter.rules[0].thresholds
    assert found.filter.rules[0].of("few") == found.filter.rules[0].of("")
    assert any("segment 'few' has 40 golden pairs of 2 queries" in note for note in found.notes)


def test_a_segment_in_which_the_threshold_of_all_is_wrong_loses_nothing():
    world = World(200, seed=5)
    tail = np.array([world.segment[q] == "tail" for q in world.query])
    world.grade[tail] = np.where(world.grade[tail] == 0, 3, world.grade[tail])  # there the judge is wrong whenever it says I
    found = thresholds.choose(golden(world), wanted(precisions=((0, 0.6),)), ESCI.labels)
    assert found.filter.rules[0].thresholds["tail"] is None
    assert any("'tail' the threshold of all queries misses the precision" in note for note in found.notes)


def test_odds_of_golden_pairs_weigh_them():
    world = World(80)
    table = world.people()
    odds = np.where(world.grade == 0, 0.1, 1.0)  # each irrelevant pair stands for ten
    people = table.append_column("inclusion_probability", [odds])
    judged = world.judgments()
    found = evidence.evidence(people, judged, judged, ESCI)[0]
    even = thresholds.choose(golden(world), wanted(), ESCI.labels)
    weighed = thresholds.choose(found, wanted(), ESCI.labels)
    assert weighed.found["removed"].value > even.found["removed"].value


def test_rows_in_another_order_choose_the_same():
    one = golden(World(60))
    other = one.take(np.random.default_rng(0).permutation(one.grade.size))
    first, second = (thresholds.choose(g, wanted(), ESCI.labels) for g in (one, other))
    assert first.filter == second.filter
    assert first.found["precision"].value == pytest.approx(second.found["precision"].value)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"precisions": ((3, 0.9),)}, "grade 3 cannot be filtered"),
        ({"precisions": ((0, 1.0),)}, "--precision 1"),
        ({"floor": -1}, "--floor -1"),
    ],
)
def test_what_cannot_be_asked_is_an_error(changes, complaint):
    with pytest.raises(InputError, match=complaint):
        thresholds.choose(golden(World(30)), wanted(**changes), ESCI.labels)


def test_few_golden_pairs_promise_nothing():
    with pytest.raises(InputError, match="promises nothing"):
        thresholds.choose(golden(World(5, 10)), wanted(), ESCI.labels)


@pytest.mark.simulation
@pytest.mark.parametrize(("queries", "target"), [(60, 0.8), (150, 0.8), (150, 0.9)])
def test_the_precision_holds_in_95_percent_of_golden_sets(repetitions, queries, target):
    """Queries of 20 results with an effect of their own, a judge that does not know it. Tolerance: 3 sqrt(.05 .95 / R)."""
    rng = np.random.default_rng(4)

    def draw(n):
        own, logit = rng.normal(0, 0.8, (n, 1)), -1 + 1.6 * rng.normal(0, 1.5, (n, 20))
        hit = rng.random((n, 20)) < 1 / (1 + np.exp(-logit - own))
        return 1 / (1 + np.exp(-logit.ravel())), hit.ravel(), np.repeat(np.arange(n), 20)

    bad, hit, _ = draw(20_000)
    place = np.argsort(-bad)
    precision, score = np.cumsum(hit[place]) / np.arange(1, bad.size + 1), bad[place]
    holds, chosen, n = 0, 0, repetitions(reduced=120, whole=2000)
    for _ in range(n):
        threshold, _ = thresholds.lowest(*draw(queries), target, weights=None, bound=True, level=0.95)
        at = np.searchsorted(-score, -(threshold or 2.0), side="right")
        chosen += threshold is not None
        holds += threshold is None or precision[at - 1] >= target
    assert holds / n >= 0.95 - 3 * (0.05 * 0.95 / n) ** 0.5
    assert chosen / n > 0.8  # and it is no filter that never removes anything


# --- the order ----------------------------------------------------------------------------------------------------------


@given(st.permutations(range(12)), st.integers(0, 12))
def test_nobody_moves_more_than_the_bound_and_a_wide_bound_changes_nothing(wanted_order, most):
    found = within(wanted_order, most)
    assert sorted(found.tolist()) == list(range(12))
    assert (abs(found - np.arange(12)) <= most).all()
    if most >= 11:
        assert found.tolist() == list(wanted_order)


@given(st.lists(st.sampled_from([0.0, 1.0, 2.0]), min_size=1, max_size=15), st.sampled_from([None, 0, 1, 3]))
def test_equal_final_scores_keep_the_order_that_they_had(scores, most):
    n = len(scores)
    same = Decisions(np.ones(n, bool), np.zeros(n), ("",) * n, most)
    assert order(scores, same).tolist() == sorted(range(n), key=lambda i: (-scores[i], i))


def test_a_score_that_is_no_number_is_an_error():
    with pytest.raises(InputError, match="document 1 has score NaN"):
        order([1.0, np.nan], Decisions(np.ones(2, bool), np.zeros(2), ("", "")))
    with pytest.raises(InputError, match="2 scores and 1 decisions"):
        order([1.0, 2.0], Decisions(np.ones(1, bool), np.zeros(1), ("",)))
    with pytest.raises(InputError, match="move -1 places"):
        within([0, 1], -1)
    with pytest.raises(InputError, match="is no order"):
        within([0, 0], 1)


def test_badness_adds_up_to_the_grade():
    assert badness([[0.1, 0.2, 0.3, 0.4]], 2) == pytest.approx([0.6])
