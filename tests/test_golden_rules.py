"""From votes to a grade: which votes count, which rule decides, and when somebody must adjudicate."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from germane.cards.gold import adjudicate
from germane.golden.rules import RULES, State, decide, needs_adjudication, settle, standing
from germane.golden.tally import by_rule
from germane.scales import get
from germane.types import InputError, Vote, VoteKind

ESCI = get("esci")
START = datetime(2026, 5, 4, 9, tzinfo=UTC)
answers = st.lists(st.one_of(st.none(), st.integers(0, 3)), min_size=1, max_size=6)


def vote(rater, grade, minute=0, **more):
    return Vote("q", "d", rater, grade, "g", START + timedelta(minutes=minute), **more)


@pytest.mark.parametrize(
    ("votes", "rule", "grade"),
    [
        ([3, 3], "majority", 3),
        ([3, 2], "majority", None),
        ([3, 3, None], "majority", 3),
        ([3, None], "majority", None),
        ([0, 2, 3], "median", 2),
        ([0, 0, 3, 3], "median", None),
        ([2, None, None], "median", None),
        ([2, 2, 1], "unanimous", None),
        ([2, 2], "unanimous", 2),
        ([None, None], "unanimous", None),
    ],
)
def test_each_rule_gives_the_grade_that_it_says_it_gives(votes, rule, grade):
    assert decide(votes, ESCI, rule)[0] == grade


@given(answers, st.sampled_from(RULES))
def test_the_order_of_votes_does_not_matter(votes, rule):
    assert decide(votes, ESCI, rule) == decide(votes[::-1], ESCI, rule)


@given(st.lists(answers, min_size=1, max_size=8), st.sampled_from(RULES))
def test_a_million_votes_at_once_are_decided_as_one_pair_is(several, rule):
    unit = np.repeat(np.arange(len(several)), [len(votes) for votes in several])
    grade = np.array([-1 if vote is None else vote for votes in several for vote in votes])
    one = [decide(votes, ESCI, rule)[0] for votes in several]
    assert by_rule(unit, grade, rule=rule, grades=4).tolist() == [-1 if g is None else g for g in one]


@given(answers)
def test_check_takes_the_same_majority(votes):
    rows = {"query_id": ["q"] * len(votes), "doc_id": ["d"] * len(votes), "judge": [f"human:{i}" for i in range(len(votes))]}
    table = pa.table({**rows, "relevance": pa.array(votes, pa.int16())})
    made, several, _ = adjudicate(table, "majority")
    if several is not None:
        found = made["relevance"].to_pylist()
        assert (found[0] if found else None) == decide(votes, ESCI)[0]


def test_a_changed_mind_counts_once_and_an_undo_not_at_all():
    rows = [vote("ann", 1), vote("ann", 3, 5), vote("bob", 2, 1), vote("bob", 2, 2, withdrawn=True)]
    assert [(v.rater, v.relevance) for v in standing(rows)] == [("ann", 3)]
    assert settle(rows, 2, "majority", ESCI).state == State.OPEN


def test_an_adjudication_wins_over_every_vote_and_the_last_one_over_others():
    rows = [vote("ann", 1), vote("bob", 3, 1)]
    assert needs_adjudication(rows, 2, "majority", ESCI)
    rows += [vote("eve", 2, 9, kind=VoteKind.ADJUDICATION, reason="size differs")]
    assert settle(rows, 2, "majority", ESCI)[:3] == (State.GRADED, 2, "adjudicated")
    rows += [vote("kim", None, 12, kind=VoteKind.ADJUDICATION, reason="no title")]
    assert settle(rows, 2, "majority", ESCI) == (State.CANNOT_JUDGE, None, "adjudicated", "no title")


def test_an_adjudicators_own_vote_before_is_another_role():
    rows = [vote("ann", 1), vote("bob", 3), vote("ann", 3, 4, kind=VoteKind.ADJUDICATION)]
    assert len(standing(rows)) == 3


def test_a_pair_that_nobody_can_judge_needs_nobody_and_one_that_half_cannot_does():
    assert settle([vote("ann", None, reason="blank"), vote("bob", None)], 2, "majority", ESCI)[:2] == (State.CANNOT_JUDGE, None)
    assert needs_adjudication([vote("ann", None), vote("bob", 2)], 2, "majority", ESCI)


def test_a_control_is_no_vote():
    assert settle([vote("ann", 1, kind=VoteKind.CONTROL), vote("bob", 1)], 2, "majority", ESCI).state == State.OPEN


def test_an_unknown_rule_is_refused_by_name():
    with pytest.raises(InputError, match="rule 'plurality': expected one of majority, median, unanimous"):
        decide([1], ESCI, "plurality")
