from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from germane.chance import keys, uniform
from germane.judges import Confused, Fake, People, Recorded, as_table, ask, pairs_of
from germane.judges.replay import posterior
from germane.scales import get
from germane.store import conform
from germane.types import Doc, InputError, Judge, Judgment, Outcome, Pair, Query

ESCI = get("esci")
CONFUSION = np.array([[0.8, 0.1, 0.1, 0.0], [0.1, 0.7, 0.1, 0.1], [0.0, 0.1, 0.8, 0.1], [0.0, 0.0, 0.2, 0.8]])


def pair(query_id: str, doc_id: str) -> Pair:
    return Pair(Query(query_id, f"text of {query_id}"), Doc(doc_id, {"text": f"text of {doc_id}"}))


def pairs(n: int) -> list[Pair]:
    return [pair(f"q{i // 10}", f"d{i}") for i in range(n)]


def vote(relevance: int | None, judge: str, doc_id: str = "d1", **changes: object) -> Judgment:
    outcome = Outcome.ABSTAINED if relevance is None else Outcome.LABEL
    said = Judgment("q1", doc_id, relevance, None, f"human:{judge}", "", "esci", ESCI.version, outcome)
    return said._replace(**changes)


def truth(query_ids, doc_ids):
    return [int(d[1:]) % 4 if d[1:].isdigit() else -1 for d in doc_ids]


JUDGES: dict[str, Callable[[], Judge]] = {
    "fake": lambda: Fake(ESCI),
    "confused": lambda: Confused(truth, CONFUSION, scale=ESCI, seed=1, prior=[1, 1, 1, 1]),
    "recorded": lambda: Recorded(as_table(Fake(ESCI)(pairs(50)))),
    "people": lambda: People(as_table([vote(2, "ann"), vote(2, "bob")]), ESCI),
}


@pytest.mark.parametrize("name", JUDGES)
def test_every_judge_answers_each_pair_in_order_whatever_stands_around_it(name):
    judge = JUDGES[name]()
    asked = [*pairs(40), pair("q1", "unknown")]
    said = list(judge(iter(asked)))
    assert [(j.query_id, j.doc_id) for j in said] == [(p.query.query_id, p.doc.doc_id) for p in asked]
    assert list(judge(reversed(asked))) == said[::-1]
    assert [next(judge([p])) for p in asked] == said
    assert all(j.judge == judge.name and j.fingerprint == judge.fingerprint for j in said)


@pytest.mark.parametrize("name", ["recorded", "people", "confused"])
def test_a_pair_that_is_not_known_has_no_answer_and_no_zero(name):
    said = next(JUDGES[name]()([pair("q1", "unknown")]))
    assert (said.relevance, said.probs, said.outcome) == (None, None, Outcome.ABSTAINED)
    assert said.note


@pytest.mark.parametrize("name", JUDGES)
def test_what_a_judge_says_of_a_table_is_a_judgments_table(name):
    rows = [(p.query.query_id, p.query.text, p.doc.doc_id, p.doc.fields["text"]) for p in pairs(30)]
    table = pa.table(dict(zip(("query_id", "query", "doc_id", "text"), zip(*rows, strict=True), strict=True)))
    said = ask(JUDGES[name](), table)
    assert conform(said, "judgments", name="said").num_rows == 30
    assert list(pairs_of(table)) == pairs(30)


def test_a_judge_of_nothing_says_nothing():
    assert list(Fake(ESCI)([])) == []
    assert as_table([]).num_rows == 0


def test_a_fake_judge_cannot_be_taken_for_another():
    said = next(Fake(ESCI, seed=3)([pair("q", "d")]))
    assert said.fingerprint.startswith("fake:3:")
    assert (said.judge, said.note) == ("fake", "fake")
    grades = [j.relevance for j in Fake(ESCI)(pairs(400))]
    assert np.bincount(grades, minlength=4).min() > 60
    assert grades != [j.relevance for j in Fake(ESCI, seed=1)(pairs(400))]


def test_a_fake_judge_reads_words_not_ids():
    one, two = Pair(Query("q1", "chair"), Doc("d1", {"t": "x"})), Pair(Query("q2", "chair"), Doc("d2", {"t": "x"}))
    grades = [j.relevance for seed in range(20) for j in Fake(ESCI, seed=seed)([one, two])]
    assert grades[::2] == grades[1::2]


def test_a_recording_keeps_judge_reason_and_probabilities():
    first = Judgment("q1", "d1", 2, (0.0, 0.25, 0.5, 0.25), "gpt", "gpt:1", "esci", "v1", note="close")
    second = Judgment("q1", "d2", None, None, "gpt", "gpt:1", "esci", "v1", Outcome.REFUSED, "no")
    said = list(Recorded(as_table([first, second]))([pair("q1", "d2"), pair("q1", "d1")]))
    assert said == [second, first]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "found 0: none"),
        ([vote(1, "ann"), vote(1, "bob")], "found 2: human:ann on esci; human:bob on esci"),
        ([vote(1, "ann"), vote(1, "ann", guide_version="v0")], "found 2"),
    ],
)
def test_a_recording_of_no_one_or_of_several_is_refused(rows, message):
    with pytest.raises(InputError, match=message):
        Recorded(as_table(rows))


def test_a_confused_judge_makes_the_stated_errors_and_no_others():
    """20,000 pairs, 5,000 of each grade. Tolerance: 4 sqrt(0.25 / 5000) = 0.028."""
    judge = Confused(truth, CONFUSION, scale=ESCI, seed=5)
    docs = [f"d{i}" for i in range(20_000)]
    said, probs = judge.grade(["q"] * 20_000, docs)
    true = np.array(truth([], docs))
    found = np.array([[np.mean(said[true == i] == j) for j in range(4)] for i in range(4)])
    assert found == pytest.approx(CONFUSION, abs=0.028)
    assert (found[CONFUSION == 0] == 0).all()
    assert probs is None


def test_the_probabilities_of_a_confused_judge_are_calibrated():
    """Of the pairs reported as j, the share that is truly i. At least 2,000 reports a grade: 4 sqrt(0.25 / 2000) = 0.045."""
    docs = [f"d{i}" for i in range(20_000)]
    prior = [0.25] * 4
    judge = Confused(truth, CONFUSION, scale=ESCI, seed=6, prior=prior)
    said, probs = judge.grade(["q"] * 20_000, docs)
    true = np.array(truth([], docs))
    for report in range(4):
        shares = np.bincount(true[said == report], minlength=4) / np.sum(said == report)
        assert probs[said == report][0] == pytest.approx(shares, abs=0.045)


def test_the_errors_of_a_confused_judge_follow_seed_and_name():
    docs = [f"d{i}" for i in range(500)]
    grades = [Confused(truth, CONFUSION, scale=ESCI, seed=s).grade(["q"] * 500, docs)[0].tolist() for s in (1, 1, 2)]
    assert grades[0] == grades[1] != grades[2]
    assert (
        Confused(truth, CONFUSION, scale=ESCI, seed=1).fingerprint != Confused(truth, CONFUSION, scale=ESCI, seed=2).fingerprint
    )
    assert Confused(truth, CONFUSION, scale=ESCI, seed=1).fingerprint.startswith("replay:")


@pytest.mark.parametrize(
    ("matrix", "message"),
    [(np.eye(3), "4 x 4"), (np.eye(4) * 0.9, "adds to 1"), (np.eye(4) * 2 - np.full((4, 4), 0.25), "adds to 1")],
)
def test_a_matrix_that_states_no_errors_of_this_scale_is_refused(matrix, message):
    with pytest.raises(InputError, match=message):
        Confused(truth, matrix, scale=ESCI, seed=1)


def test_a_report_that_cannot_happen_has_the_prior():
    assert posterior([[1.0, 0.0], [1.0, 0.0]], [0.3, 0.7])[1].tolist() == [0.3, 0.7]


def test_one_vote_stands_and_several_need_more_than_half():
    votes = [vote(3, "ann", "one")]
    votes += [vote(g, w, "two of three") for g, w in ((3, "ann"), (3, "bob"), (0, "cem"))]
    votes += [vote(g, w, "tie") for g, w in ((3, "ann"), (2, "bob"))]
    votes += [vote(g, w, "abstained") for g, w in ((3, "ann"), (None, "bob"))]
    people = People(as_table(votes), ESCI, name="panel")
    said = {j.doc_id: j for j in people([pair("q1", d) for d in ("one", "two of three", "tie", "abstained")])}
    assert {d: j.relevance for d, j in said.items()} == {"one": 3, "two of three": 3, "tie": None, "abstained": None}
    assert said["two of three"].probs == pytest.approx((1 / 3, 0, 0, 2 / 3))
    assert said["one"].probs is None
    assert said["tie"].note == "no majority: S 1, E 1"
    assert {j.judge for j in said.values()} == {"human:panel"}


@pytest.mark.parametrize(
    ("votes", "message"),
    [
        ([vote(1, "ann")._replace(judge="gpt")], "a vote of 'gpt'"),
        ([vote(9, "ann")], "0 to 3"),
        ([vote(1, "ann", scale="trec")], "votes on scale 'trec'"),
        ([vote(1, "ann"), vote(1, "bob", guide_version="v0")], "2 guide versions"),
    ],
)
def test_votes_that_are_not_peoples_on_this_scale_are_refused(votes, message):
    with pytest.raises(InputError, match=message):
        People(as_table(votes), ESCI)


@given(st.lists(st.text(), min_size=1, max_size=20), st.integers(0, 2**40))
def test_chance_depends_on_names_and_seed_alone(names, seed):
    there = uniform(seed, keys(names), 3)
    back = uniform(seed, keys(names[::-1]), 3)
    assert there.tolist() == back[::-1].tolist()
    assert ((there > 0) & (there < 1)).all()


def test_chance_is_spread_evenly_and_differs_by_part():
    """100,000 numbers: mean within 4 sd of 1/2, twenty bins within 5 sd, parts uncorrelated within 4 sd."""
    n = 100_000
    here, there = (uniform(1, np.arange(n, dtype=np.uint64), part) for part in (0, 1))
    assert here.mean() == pytest.approx(0.5, abs=4 * np.sqrt(1 / 12 / n))
    counts = np.histogram(here, 20, (0, 1))[0]
    assert np.abs(counts - n / 20).max() < 5 * np.sqrt(n * 0.05 * 0.95)
    assert abs(np.corrcoef(here, there)[0, 1]) < 4 / np.sqrt(n)
