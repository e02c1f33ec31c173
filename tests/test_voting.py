"""Samples of one judge as one answer: votes by hand, what must hold of any, and what stopping early may not change."""

from collections import Counter
from itertools import product
from math import log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from germane.judges.voting import LEAST, MOST, PRIOR, RULES, decided, prior_of, vote, wave
from germane.types import InputError

SIZE = 4
rules = st.sampled_from(RULES)
a_vote = st.none() | st.integers(0, SIZE - 1)


@st.composite
def some_votes(draw, most=7):
    """(votes, n): as many votes as were asked, or fewer."""
    n = draw(st.integers(1, most))
    return draw(st.lists(a_vote, max_size=n)), n


# --- by hand --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("votes", "majority", "median"),
    [
        ([3, 3, 3, 3, 3], 3, 3),
        ([3, 3, 3, 0, 0], 3, 3),
        ([3, 3, 0, 1, 2], None, 2),  # nobody has more than half; the middle is 2
        ([0, 0, 3, 3, 1], None, 1),
        ([0, 1, 2, 3], None, 1),  # of two middles the lower
        ([3, 3], 3, 3),
        ([2, 3], None, 2),
        ([3, 3, None, 3, 2], 3, 3),
        ([3, 3, None, 2, 2], None, 2),  # two of five are no majority, however few answered
        ([3, 3, None, None, 3], 3, 3),
        ([3, 3, None, None, None], None, None),  # not more than half answered
        ([3, None], None, None),  # half is not more than half
        ([None, None, None], None, None),
        ([1], 1, 1),
        ([None], None, None),
    ],
)
def test_votes_by_hand(votes, majority, median):
    assert vote(votes, SIZE, n=len(votes), rule="majority").relevance == majority
    assert vote(votes, SIZE, n=len(votes), rule="median").relevance == median


def test_no_answer_stays_in_the_denominator_of_agreement_and_probs_are_of_those_that_answered():
    found = vote([3, 3, 2, None, 3], SIZE, n=5)
    assert found.self_agreement == 0.6
    assert found.probs == (0, 0, 0.25, 0.75)
    assert found.entropy == pytest.approx(-0.25 * log2(0.25) - 0.75 * log2(0.75))


def test_without_a_grade_there_is_no_agreement_and_the_spread_can_still_be_told():
    found = vote([0, 1, 2, 3], SIZE, n=4, rule="majority")
    assert (found.relevance, found.self_agreement) == (None, None)
    assert found.entropy == pytest.approx(2.0)
    assert found.probs == (0.25,) * 4
    assert vote([None, None], SIZE, n=5) == (None, None, None, None)
    assert vote([], SIZE, n=5) == (None, None, None, None)


@pytest.mark.parametrize(
    ("votes", "n", "rule", "settled", "next_wave"),
    [
        ([], 1, "median", False, 1),
        ([], 3, "majority", False, 2),
        ([], 4, "majority", False, 2),  # two without an answer would decide that there is none
        ([], 5, "majority", False, 3),
        ([], 5, "median", False, 3),
        ([], 7, "median", False, 4),
        ([3, 3, 3], 5, "majority", True, 0),
        ([3, 3, 2], 5, "majority", False, 1),
        ([3, 2, 1], 5, "majority", False, 1),  # a fourth grade would decide that there is none
        ([3, 2, 1, 0], 5, "majority", True, 0),  # nobody can reach three any more
        ([3, 2, 1, 0], 5, "median", False, 1),
        ([1, 2, 2, 3], 5, "majority", False, 1),
        ([1, 2, 2, 3], 5, "median", True, 0),  # whatever comes, 2 stays in the middle
        ([3, 3, None], 5, "majority", False, 1),
        ([None, None, None], 5, "median", True, 0),  # more than half cannot answer any more
        ([None, None], 5, "median", False, 1),
        ([3, 3, 3, 3, 3], 5, "median", True, 0),
        ([3, 3, 3, 3], 7, "majority", True, 0),
    ],
)
def test_what_is_decided_and_how_many_to_ask_next_by_hand(votes, n, rule, settled, next_wave):
    assert decided(votes, SIZE, n=n, rule=rule) is settled
    assert wave(votes, SIZE, n=n, rule=rule) == next_wave


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: vote([1], 4, n=1, rule="mean"), "no rule 'mean' of a vote: expected one of majority, median"),
        (lambda: vote([1, 1], 4, n=1), "2 votes of n = 1"),
        (lambda: vote([], 4, n=0), "n is at least 1"),
        (lambda: decided([], 1, n=3, rule="median"), "on 1 grades"),
        (lambda: wave([4], 4, n=3), "vote 4 is not on a scale of 4 grades: expected 0 to 3, or None"),
        (lambda: vote([-1], 4, n=3), "vote -1 is not"),
        (lambda: vote([1], 4, n=3, prior=0.0), "a prior of 0.0 samples: expected a number above 0"),
        (lambda: vote([1], 4, n=3, prior=float("nan")), "a prior of nan"),
        (lambda: prior_of([[1], [None, 2]], 4), "no pair has two samples that answered"),
    ],
)
def test_what_cannot_be_is_refused(call, line):
    with pytest.raises(InputError, match=line.replace("(", r"\(")):
        call()


# --- what must hold of any vote -------------------------------------------------------------------------------------


@given(some_votes(), rules, st.randoms(use_true_random=False))
def test_the_order_of_votes_does_not_matter(given_votes, rule, random):
    votes, n = given_votes
    mixed = random.sample(votes, len(votes))
    assert vote(mixed, SIZE, n=n, rule=rule) == vote(votes, SIZE, n=n, rule=rule)
    assert wave(mixed, SIZE, n=n, rule=rule) == wave(votes, SIZE, n=n, rule=rule)


@given(some_votes(most=5), rules)
def test_decided_is_to_have_the_same_answer_whatever_comes(given_votes, rule):
    votes, n = given_votes
    completions = product([None, *range(SIZE)], repeat=n - len(votes))
    answers = {vote([*votes, *rest], SIZE, n=n, rule=rule).relevance for rest in completions}
    assert decided(votes, SIZE, n=n, rule=rule) is (len(answers) == 1)
    if len(answers) == 1:
        assert vote(votes, SIZE, n=n, rule=rule).relevance in answers


@given(some_votes(most=5), rules)
def test_a_wave_is_the_fewest_that_could_decide(given_votes, rule):
    votes, n = given_votes
    size = wave(votes, SIZE, n=n, rule=rule)
    could = [
        k
        for k in range(n - len(votes) + 1)
        if any(decided([*votes, *more], SIZE, n=n, rule=rule) for more in product([None, *range(SIZE)], repeat=k))
    ]
    assert size == could[0]


@given(st.integers(1, 31), rules)
def test_the_first_wave_is_half_rounded_up(n, rule):
    assert wave([], SIZE, n=n, rule=rule) == (n + 1) // 2


@given(some_votes(), rules)
def test_waves_come_to_an_end(given_votes, rule):
    votes, n = given_votes
    while more := wave(votes, SIZE, n=n, rule=rule):
        votes = [*votes, *([2, None, 0, 3] * n)[:more]]
    assert len(votes) <= n
    assert decided(votes, SIZE, n=n, rule=rule)


@given(st.lists(a_vote, min_size=1, max_size=9))
def test_turning_the_scale_round_turns_the_median_round_where_an_odd_number_answered(votes):
    turned = [None if v is None else SIZE - 1 - v for v in votes]
    there, back = vote(votes, SIZE, n=len(votes)), vote(turned, SIZE, n=len(votes))
    answered = sorted(v for v in votes if v is not None)
    if there.relevance is None:
        assert back.relevance is None
    elif len(answered) % 2:
        assert back.relevance == SIZE - 1 - there.relevance
    else:  # the lower of two becomes the upper of two
        assert SIZE - 1 - back.relevance == answered[len(answered) // 2]
    assert back.entropy == (None if there.entropy is None else pytest.approx(there.entropy))


@given(some_votes(), rules, st.floats(0.01, 100))
def test_shares_are_shares_and_entropy_has_its_bounds(given_votes, rule, prior):
    votes, n = given_votes
    found = vote(votes, SIZE, n=n, rule=rule, prior=prior)
    assert found.relevance == vote(votes, SIZE, n=n, rule=rule).relevance, "the prior has no part in the grade"
    if found.probs is not None:
        assert sum(found.probs) == pytest.approx(1)
        assert min(found.probs) >= 0
        assert -1e-12 <= found.entropy <= log2(SIZE) + 1e-9
    if found.relevance is not None:
        votes_for = sum(v == found.relevance for v in votes)
        assert votes_for / n <= found.self_agreement <= (votes_for + n - len(votes)) / n + 1e-12


@given(st.lists(a_vote, min_size=1, max_size=9), rules)
def test_a_whole_vote_is_not_corrected(votes, rule):
    found = vote(votes, SIZE, n=len(votes), rule=rule)
    counts = Counter(v for v in votes if v is not None)
    shares = [counts[g] / counts.total() for g in range(SIZE)] if counts else []
    assert found.entropy == (pytest.approx(-sum(p * log2(p) for p in shares if p)) if counts else None)
    assert found == vote(votes, SIZE, n=len(votes), rule=rule, prior=7.0)


@given(some_votes(most=5), st.sampled_from([0.1, PRIOR, 4.0]))
def test_the_correction_is_the_mean_over_every_way_in_which_the_urn_could_go_on(given_votes, prior):
    """Draw by draw, each completion with its chance, on three grades: the formula's own definition."""
    votes, n = given_votes
    votes = [min(v, 2) if v is not None else None for v in votes]
    if not any(v is not None for v in votes):
        return
    entropy, agreement, grade = 0.0, 0.0, vote(votes, 3, n=n).relevance
    for rest in product([None, 0, 1, 2], repeat=n - len(votes)):
        held, chance = list(votes), 1.0
        for v in rest:
            answered = [w for w in held if w is not None]
            share = len(answered) / len(held)
            chance *= 1 - share if v is None else share * (answered.count(v) + prior / 3) / (len(answered) + prior)
            held.append(v)
        whole = [held.count(g) / len([w for w in held if w is not None]) for g in range(3)]
        entropy -= chance * sum(p * log2(p) for p in whole if p)
        agreement += chance * held.count(grade) / n
    found = vote(votes, 3, n=n, prior=prior)
    assert found.entropy == pytest.approx(entropy)
    if grade is not None:
        assert found.self_agreement == pytest.approx(agreement)


# --- the prior ------------------------------------------------------------------------------------------------------


def test_the_prior_of_a_judge_that_never_wavers_is_the_least_and_of_one_that_draws_lots_the_most():
    assert prior_of([[1, 1, 1], [0, 0, 0]], SIZE) == LEAST
    assert prior_of([[0, 1], [2, 3]], SIZE) == MOST


def test_pairs_with_one_answer_tell_nothing():
    assert prior_of([[3, 3], [3, 2], [1, None], [None, None], []], SIZE) == prior_of([[3, 3], [3, 2]], SIZE)


def test_the_prior_of_a_known_urn_is_found(repetitions):
    """Two standard errors of the share of pairs that agree, 0.02 at 4,000 pairs of three samples, are 12 % of this prior."""
    rng = np.random.default_rng(3)
    pairs = repetitions(reduced=4_000, whole=100_000)
    tolerance = 0.12 if pairs < 10_000 else 0.03
    for mass in (0.4, 1.5):
        shares = rng.dirichlet(np.full(SIZE, mass / SIZE), size=pairs)
        samples = [rng.choice(SIZE, size=3, p=p).tolist() for p in shares]
        assert prior_of(samples, SIZE) == pytest.approx(mass, rel=tolerance)


# --- what stopping early saves, and what it does not change ---------------------------------------------------------


def stopped(whole, rule):
    """The votes that were asked before it was decided."""
    m = 0
    while more := wave(whole[:m], SIZE, n=len(whole), rule=rule):
        m += more
    return whole[:m]


def plain_entropy(votes):
    shares = np.bincount(votes, minlength=SIZE) / len(votes)
    return float(-(shares[shares > 0] * np.log2(shares[shares > 0])).sum())


@pytest.mark.simulation
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("n", [3, 5, 7])
@pytest.mark.parametrize("agreement", [0.95, 0.8, 0.6])
def test_votes_that_stopped_early_are_as_sure_as_whole_ones_in_the_mean(agreement, n, rule, repetitions):
    """A judge gives one grade with the given chance, else another of three. Within 0.06 bits and 0.015 of agreement, plus
    three Monte Carlo standard errors, with the judge's own prior from its first waves; uncorrected, a stopped vote's entropy is
    short by more than that wherever agreement is 0.8 or 0.6, and its agreement too high.
    """
    pairs = repetitions(reduced=1_500, whole=20_000)
    rng = np.random.default_rng([n, int(100 * agreement)])
    chances = np.where(np.arange(SIZE) == 2, agreement, (1 - agreement) / (SIZE - 1))
    wholes = rng.choice(SIZE, size=(pairs, n), p=chances).tolist()
    prior = prior_of([whole[: n // 2 + 1] for whole in wholes], SIZE)
    rows = []
    for whole in wholes:
        asked = stopped(whole, rule)
        found, all_of_it = vote(asked, SIZE, n=n, rule=rule, prior=prior), vote(whole, SIZE, n=n, rule=rule)
        assert found.relevance == all_of_it.relevance, "stopping early changes no label"
        naive = asked.count(found.relevance) / len(asked)
        agreements = (found.self_agreement, naive, all_of_it.self_agreement) if found.relevance is not None else (np.nan,) * 3
        rows.append((found.entropy, plain_entropy(asked), plain_entropy(whole), *agreements))
    bits, naive_bits, whole_bits, share, naive_share, whole_share = np.array(rows).T
    for gap, naive_gap, tolerance in (
        (bits - whole_bits, naive_bits - whole_bits, 0.06),
        (share - whole_share, naive_share - whole_share, 0.015),
    ):
        noise = 3 * np.nanstd(gap) / np.sqrt(pairs)
        assert abs(np.nanmean(gap)) < tolerance + noise
        assert abs(np.nanmean(naive_gap)) > abs(np.nanmean(gap)) - noise
        if agreement < 0.9:
            assert abs(np.nanmean(naive_gap)) > tolerance


@pytest.mark.simulation
@pytest.mark.parametrize(("agreement", "saved"), [(0.95, 0.37), (0.8, 0.27), (0.6, 0.15)])
def test_what_stopping_early_saves_of_five_calls(agreement, saved, repetitions):
    """Majority. Calls of a pair have a standard deviation under 0.9 of five: 4 x 0.18 / sqrt(pairs)."""
    pairs = repetitions(reduced=2_000, whole=50_000)
    rng = np.random.default_rng(int(100 * agreement))
    chances = np.where(np.arange(SIZE) == 2, agreement, (1 - agreement) / (SIZE - 1))
    calls = [len(stopped(whole, "majority")) for whole in rng.choice(SIZE, size=(pairs, 5), p=chances).tolist()]
    assert 1 - np.mean(calls) / 5 == pytest.approx(saved, abs=0.005 + 4 * 0.18 / np.sqrt(pairs))
